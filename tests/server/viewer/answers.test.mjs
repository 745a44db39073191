// Answers, trainings and submissions, and what comes from elsewhere meanwhile, with a desk that is stood in for.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Learning, Opening, Store, Submitting } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { labels, liver, opened, server } from './fake_viewer.mjs';
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
  const made = { store, structures: { ids: '' }, map, said, asked, say: text => said.push(text), take: async () => [], work: async (_, todo) => todo(made.map) };
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

test('of a training that was begun elsewhere and changed nothing it is not said that its model is live', async () => {
  for (const [after, said] of [[3, /not better than what is served; model 3 stays/], [4, /^Model 4 is live/]]) {
    const panel = desk([]);
    const learning = new Learning(panel);
    learning.look({ training: { running: true }, model_version: 3, trained: true });
    learning.look({ training: { running: false, state: 'done' }, model_version: after, trained: true });
    assert.match(panel.said.at(-1), said);
  }
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
      : { ok: false, status: 409, json: async () => ({ detail: '', slices: [2], submissions: { 2: 5 }, who: 'Olaf' }) };
  };
  const submitting = new Submitting(panel);
  for (const both of [false, true]) {
    await submitting.submit();
    assert.match(panel.said.at(-1), /^Slice 3: submitted from elsewhere by Olaf since you drew on it/);
    await submitting.submit([], both);
  }
  assert.deepEqual(sent.map(({ replace, beside }) => [replace, beside]), [[[], []], [[2], []], [[], []], [[], [2]]]);
  assert.match(panel.said.at(-1), /kept beside the label of slice 3/);
  assert.deepEqual([panel.uncertain, panel.store.conflict.value], [[2], {}]); // their label is fetched, and nothing is asked any more
});

test('whoever keeps both and is asked about an empty slice then still keeps both', async () => {
  const panel = desk([]);
  panel.say = (text, _, answers = []) => { panel.said.push(text); panel.answers = answers; };
  panel.map.session.submission = () => ({ voxels: bytes(1), label_info: [], drawn: { 2: 0, 4: 1 }, empty: [], sent: new Map() });
  panel.map.session.submitted = () => {};
  panel.store.conflict.value = { 2: 5 };
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

/** A panel with slices 1 and 2 drawn on, whose server has the submissions ``inForce``; what is sent to it. */
async function contested(inForce) {
  const made = await opened();
  const sent = [];
  const none = { added: [], superseded: [1], cleared: [], kept: [], untouched: [], overlaps: [] };
  server(labels, async (path, _, body) => {
    if (path !== '/fewsam/label') return undefined;
    const { drawn, replace, asked } = JSON.parse(body.get('params'));
    const agreed = k => replace.includes(Number(k)) && asked[k] === inForce[k];
    const slices = Object.keys(drawn).filter(k => inForce[k] !== drawn[k] && !agreed(k)).map(Number);
    sent.push({ replace, asked: slices });
    const submissions = Object.fromEntries(slices.map(k => [k, inForce[k]]));
    if (slices.length) return { ok: false, status: 409, json: async () => ({ detail: '', slices, submissions, who: 'Bob' }) };
    return { ok: true, json: async () => ({ ...none, replaced: replace, submissions: { 0: 7 } }) };
  });
  const draw = (k, ...pixels) => made.panel.map.render(made.panel.map.session.draw(new Map([[k, bytes(...pixels)]])));
  draw(1, 1, 0);
  return { ...made, sent, draw, submitting: new Submitting(made.panel) };
}

test('what was answered about one slice still holds when another one is asked about', async () => {
  const inForce = { 1: 8, 2: 0 };
  const { panel, sent, draw, submitting } = await contested(inForce);
  draw(2, 1, 0);
  await submitting.submit();
  inForce[2] = 9; // while the person reads the question about slice 1
  await submitting.submit();
  assert.match(panel.said.at(-1).text, /^Slices 2, 3: submitted from elsewhere/); // what the buttons are about
  await submitting.submit();
  assert.deepEqual(sent, [{ replace: [], asked: [1] }, { replace: [1], asked: [2] }, { replace: [1, 2], asked: [] }]);
  assert.deepEqual(panel.store.conflict.value, {});
});

test('what was answered about one label holds for no other one of the slice', async () => {
  const inForce = { 1: 8 };
  const { panel, sent, draw, submitting } = await contested(inForce);
  await submitting.submit();
  const { session } = panel.map;
  panel.map.render(session.undo()); // the drawing is given up, and another one is made over the label in question
  session.receive(bytes(1, 1, 0, 1, 0, 0), { structures: [liver], submissions: { 0: 7, 1: 8 } });
  draw(1, 1, 1);
  inForce[1] = 13;
  await submitting.submit();
  assert.deepEqual(sent, [1, 2].map(() => ({ replace: [], asked: [1] })));
});
