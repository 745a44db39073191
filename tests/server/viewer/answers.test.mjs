// Answers, trainings and submissions, and what comes from elsewhere meanwhile, with a desk that is stood in for.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Learning, Opening, Store, Submitting } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { bytes } from './series.mjs';

/** A panel with series 'ct' open, whose server answers Segment with what ``answers`` holds, in turn. */
function desk(answers) {
  const asked = [];
  globalThis.fetch = async url => {
    asked.push(String(url).replace(/^.*\/fewsam/, '/fewsam'));
    const text = new TextEncoder().encode(JSON.stringify({ shots: 2, notes: [], ...answers.shift() }));
    const bytes = new Uint8Array(4 + text.length);
    new DataView(bytes.buffer).setUint32(0, text.length, true);
    bytes.set(text, 4);
    return { ok: true, arrayBuffer: async () => bytes.buffer };
  };
  const store = new Store();
  const map = { series: 'ct', drawing: false, commit() {}, geometry: { current: () => 7 }, session: { points: [], slices: { dirty: [] } } };
  const said = [];
  const made = { store, map, said, asked, say: text => said.push(text), take: async () => [], work: async (_, todo) => todo(made.map) };
  return made;
}

const encoded = { training: {}, image: { id: 'ct', encoded: true } };
const settled = () => new Promise(done => setTimeout(done));

test('a first answer says what is not encoded yet, and the next one comes by itself once all is', async () => {
  const panel = desk([{ unencoded: [0, 1, 2] }, { unencoded: [] }]);
  const learning = new Learning(panel);
  await learning.segment();
  assert.deepEqual(panel.asked, ['/fewsam/segment?image=ct&slice=7']);
  assert.match(panel.said.at(-1), /3 slices improve once they are encoded\./);
  learning.look({ training: {}, image: { id: 'ct', encoded: false } });
  panel.map.drawing = true;
  learning.look(encoded); // in the middle of a stroke
  panel.map.drawing = false;
  panel.store.busy.value = 'Submitting';
  learning.look(encoded);
  panel.store.busy.value = '';
  await settled();
  assert.equal(panel.asked.length, 1);
  learning.look(encoded);
  await settled();
  assert.equal(panel.asked.length, 2);
  assert.doesNotMatch(panel.said.at(-1), /encoded/);
  learning.look(encoded);
  await settled();
  assert.equal(panel.asked.length, 2);
});

test('what was asked before a training was begun does not say that it has ended', async () => {
  const panel = desk([{}]);
  let forgotten = 0;
  panel.overtake = () => (forgotten = panel.asked.length);
  const learning = new Learning(panel);
  await learning.train();
  assert.equal(forgotten, 1); // after the training was asked for, so that no look of before it comes in
  learning.look({ training: { running: true } });
  assert.deepEqual(panel.said, ['Training started.']);
  learning.look({ training: { running: false, last: {} }, model_version: 0 });
  assert.equal(panel.said.length, 2);
});

test('where something was drawn meanwhile, or another series is open, nothing is asked unbidden', async () => {
  const panel = desk([{ unencoded: [0] }, { unencoded: [0] }]);
  const learning = new Learning(panel);
  await learning.segment();
  assert.match(panel.said.at(-1), /1 slice improves once it is encoded/);
  panel.map.session.slices.dirty = [4];
  learning.look(encoded);
  await settled();
  assert.equal(panel.asked.length, 1);
  assert.match(panel.said.at(-1), /Segment again for a better answer; what you drew stays/);
  panel.map.session.slices.dirty = [];
  await learning.segment();
  learning.look({ training: {}, image: { id: 'mr', encoded: true } });
  panel.map.series = 'mr';
  learning.look(encoded);
  await settled();
  assert.equal(panel.asked.length, 2);
});

test('what was submitted from elsewhere is said, unless something is done meanwhile that says itself what came of it', async () => {
  const panel = desk([]);
  panel.map.session.slices.stale = () => [2];
  panel.store.server.value = { image: { id: 'ct', submissions: { 2: 5 } } };
  let ends = false; // what is being done, while the labels are fetched
  panel.fetch = async () => {
    if (ends) panel.store.busy.value = '';
    return true;
  };
  const opening = new Opening(panel, {});
  await opening.catchUp();
  assert.deepEqual(panel.said, ['Slice 3: submitted from elsewhere, and shown here now.']);
  for (ends of [false, true]) {
    panel.store.busy.value = 'Submitting';
    await opening.catchUp();
  }
  assert.equal(panel.said.length, 1);
});

test('what another person submitted meanwhile is asked about, and what is answered is sent: mine, or both', async () => {
  const panel = desk([]);
  panel.map.session.submission = () => ({ voxels: bytes(1), label_info: [], drawn: { 2: 0 }, empty: [], sent: new Map() });
  panel.map.session.submitted = (_, submissions, uncertain) => (panel.uncertain = uncertain);
  const sent = [];
  const taken = { added: [], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [], submissions: {} };
  globalThis.fetch = async (_, { body }) => {
    const { replace, beside } = JSON.parse(body.get('params'));
    sent.push({ replace, beside });
    const settled = [...replace, ...beside].includes(2);
    return settled ? { ok: true, json: async () => ({ ...taken, replaced: replace, beside }) }
      : { ok: false, status: 409, json: async () => ({ detail: '', slices: [2], who: 'Olaf' }) };
  };
  const submitting = new Submitting(panel);
  for (const both of [false, true]) {
    await submitting.submit();
    assert.match(panel.said.at(-1), /^Slice 3: submitted from elsewhere by Olaf since you drew on it/);
    await submitting.submit([], both);
  }
  assert.deepEqual(sent.map(({ replace, beside }) => [replace, beside]), [[[], []], [[2], []], [[], []], [[], [2]]]);
  assert.match(panel.said.at(-1), /kept beside the label of slice 3/);
  assert.deepEqual([panel.uncertain, panel.store.conflict.value], [[2], []]); // their label is fetched, and nothing is asked any more
});

test('whoever keeps both and is asked about an empty slice then still keeps both', async () => {
  const panel = desk([]);
  panel.say = (text, _, answers = []) => { panel.said.push(text); panel.answers = answers; };
  panel.map.session.submission = () => ({ voxels: bytes(1), label_info: [], drawn: { 2: 0, 4: 1 }, empty: [], sent: new Map() });
  panel.map.session.submitted = () => {};
  panel.store.conflict.value = [2];
  const sent = [];
  globalThis.fetch = async (_, { body }) => {
    const { replace, beside, empty } = JSON.parse(body.get('params'));
    sent.push([replace, beside, empty]);
    if (!empty.length) return { ok: false, status: 409, json: async () => ({ detail: '', empty: [4] }) };
    const taken = { added: [4], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [], submissions: {} };
    return { ok: true, json: async () => ({ ...taken, beside }) };
  };
  await new Submitting(panel).submit([], true);
  assert.match(panel.said.at(-1), /^Slice 5 had a label and is empty now/);
  panel.answers.find(one => one.label === 'Nothing is there').act();
  await settled();
  assert.deepEqual(sent, [[[], [2], []], [[], [2], [4]]]);
  assert.match(panel.said.at(-1), /kept beside the label of slice 3/);
});
