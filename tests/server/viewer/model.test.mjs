// What the panel keeps of a series, without a viewer: slices with undo and redo, structures by name, drafts, points.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  Drafts, LOOK, Learning, MARKS, Opening, SHEET, STEPS, Session, Slices, Store, Structures, Submitting, Trail, colourOf, colourOfError, corrected, hex, keep, kept, pack, pressed, texts, unhex, unpack,
} from '../../../lib/fewsam/server/viewer/dist/model.mjs';

const named = (...names) => names.map(name => ({ id: name, name, color: [1, 2, 3], slices: 0 }));
const bytes = (...values) => Uint8Array.from(values);
const head = (names, submissions = {}) => ({ structures: names.map(name => ({ id: name, name })), submissions });

class MemoryStore {
  values = new Map();
  full = false;
  get length() { return this.values.size; }
  key(n) { return [...this.values.keys()][n] ?? null; }
  getItem(key) { return this.values.get(key) ?? null; }
  setItem(key, value) { if (this.full) throw new Error('full'); this.values.set(key, value); }
  removeItem(key) { this.values.delete(key); }
}

const slices = () => new Slices(3, 2);

test('what comes from the server is no step of undo and makes nothing dirty', () => {
  const one = slices();
  one.receive(bytes(1, 1, 0, 0, 2, 2), { 0: 7 });
  assert.deepEqual([one.dirty, one.undoSteps, one.undo()], [[], 0, null]);
  one.receive(bytes(3, 3, 3, 3, 3, 3), { 0: 7 });
  assert.deepEqual([one.dirty, one.undo(), [...one.shown(0)]], [[], null, [3, 3]]);
});

test('a stroke undone leaves nothing to submit, and redo brings pixels and dirt back', () => {
  const one = slices();
  one.receive(bytes(1, 1, 0, 0, 0, 0), { 0: 7 });
  one.draw(new Map([[0, bytes(1, 2)]]));
  assert.deepEqual([one.dirty, one.seen(0)], [[0], 7]);
  assert.deepEqual(one.undo().changed, [0]);
  assert.deepEqual([one.dirty, [...one.shown(0)]], [[], [1, 1]]);
  assert.deepEqual(one.redo().changed, [0]);
  assert.deepEqual([one.dirty, [...one.shown(0)]], [[0], [1, 2]]);
  assert.equal(one.redo(), null);
});

test('an answer that came after a stroke is what its undo shows', () => {
  const one = slices();
  one.draw(new Map([[1, bytes(1, 1)]]));
  one.receive(bytes(2, 2, 2, 2, 2, 2), {});
  assert.deepEqual([...one.shown(1)], [1, 1]);
  one.undo();
  assert.deepEqual([one.dirty, [...one.shown(1)]], [[], [2, 2]]);
});

test('undo after a submission is a new drawing over it, not a clean slice', () => {
  const one = slices();
  one.draw(new Map([[0, bytes(1, 1)]]));
  one.submitted(one.outgoing(), { 0: 5 });
  assert.deepEqual(one.dirty, []);
  one.receive(bytes(1, 1, 9, 9, 9, 9), { 0: 5 }); // Segment
  one.undo();
  assert.deepEqual([one.dirty, [...one.shown(0)], one.seen(0)], [[0], [0, 0], 5]);
  one.redo();
  assert.deepEqual([one.dirty, [...one.shown(0)]], [[], [1, 1]]);
});

test('what is drawn while a submission is on its way is still to be submitted', () => {
  const one = slices();
  one.draw(new Map([[0, bytes(1, 1)]]));
  const sent = one.outgoing();
  one.draw(new Map([[0, bytes(1, 2)], [1, bytes(3, 3)]]));
  one.submitted(sent, { 0: 5 });
  assert.deepEqual([one.dirty, one.seen(0), [...one.shown(0)]], [[0, 1], 5, [1, 2]]);
});

test('a slice submitted elsewhere is stale while clean, and outdated while drawn on', () => {
  const one = slices();
  one.draw(new Map([[1, bytes(1, 1)]]));
  assert.deepEqual([one.stale({ 0: 3, 1: 3 }), one.outdated({ 0: 3, 1: 3 })], [[0], [0, 1]]);
});

test('giving way to another label is undone with the drawing, which is then over that label', () => {
  const one = slices();
  one.draw(new Map([[0, bytes(1, 1)]]));
  one.receive(bytes(2, 2, 0, 0, 0, 0), { 0: 4 });
  one.discard([0]);
  assert.deepEqual([one.dirty, [...one.shown(0)]], [[], [2, 2]]);
  one.undo();
  assert.deepEqual([one.dirty, [...one.shown(0)], one.seen(0)], [[0], [1, 1], 4]);
});

test('a confirmed slice is submitted as the server has it', () => {
  const one = slices();
  one.receive(bytes(1, 1, 0, 0, 0, 0), {});
  assert.deepEqual(one.confirm(0), []); // looks the same
  assert.deepEqual([one.dirty, [...one.outgoing().get(0).pixels]], [[0], [1, 1]]);
  one.undo();
  assert.deepEqual(one.dirty, []);
});

test('structures keep their values here whatever the order on the server', () => {
  const list = new Structures();
  list.update(named('liver', 'spleen'));
  list.update(named('cyst', 'liver', 'spleen'));
  assert.deepEqual(list.all.map(one => [one.name, one.value]), [['cyst', 3], ['liver', 1], ['spleen', 2]]);
  assert.deepEqual([...list.fromServer(bytes(0, 1, 2, 3), named('cyst', 'liver', 'spleen'))], [0, 3, 1, 2]);
});

test('a renamed structure is the same one, and a deleted one keeps its name for what is drawn of it', () => {
  const list = new Structures();
  list.update(named('liver', 'lesion'));
  list.update([{ ...named('lesion')[0], name: 'tumour' }]);
  assert.deepEqual(list.all.map(one => [one.id, one.name, one.value]), [['lesion', 'tumour', 2]]);
  assert.deepEqual(list.key([1, 2]), [{ id: 'liver', name: 'liver', value: 1 }, { id: 'lesion', name: 'tumour', value: 2 }]);
  const without = list.ids; // of which the labelmap is fetched again
  list.update(named('lesion'));
  assert.equal(list.ids, without);
  list.update(named('cyst'));
  assert.notEqual(list.ids, without);
});

test('a segment of the viewer that gets the name of a deleted structure is that structure', () => {
  const list = new Structures();
  list.update(named('liver', 'spleen'));
  const session = new Session('s', list, 1, 3, new MemoryStore(), 'one');
  session.open(bytes(0, 0, 0), head(['liver', 'spleen']));
  session.draw(new Map([[0, bytes(1, 0, 0)]]));
  list.update(named('spleen'));
  const { value } = list.addUnnamed('liver');
  session.draw(new Map([[0, bytes(1, value, 0)]]));
  list.update(named('liver', 'spleen'));
  assert.deepEqual(list.all.map(one => [one.id, one.value]), [['liver', value], ['spleen', 2]]);
  const meant = session.submission().label_info.filter(one => one.idx !== 2);
  assert.deepEqual(meant.map(one => [one.idx, one.id]).sort(), [[1, 'liver'], [value, 'liver']]);
  assert.deepEqual([...list.fromServer(bytes(1, 2), named('liver', 'spleen'))], [value, 2]);
  assert.equal(list.addUnnamed('new').value, 4); // no value means two
});

test('a draft is put back by name: values of another window mean nothing here', () => {
  const store = new MemoryStore();
  const [first, second] = [new Structures(), new Structures()];
  first.update(named('liver', 'lesion'));
  const before = new Session('s', first, 1, 2, store, 'one');
  before.open(bytes(0, 0), head(['liver', 'lesion']));
  before.draw(new Map([[0, bytes(2, 0)]])); // a lesion
  before.keep(true);
  second.update(named('cyst', 'lesion', 'liver'));
  const after = new Session('s', second, 1, 2, store, 'two');
  assert.deepEqual(after.open(bytes(0, 0), head(['cyst', 'lesion', 'liver'])), [0]);
  assert.deepEqual([...after.slices.shown(0)], [second.named('lesion').value, 0]);
  assert.deepEqual(after.submission().label_info.find(one => one.idx === after.slices.shown(0)[0]).name, 'lesion');
  assert.equal(after.slices.undoSteps, 0);
  assert.equal(store.length, 1); // taken over
});

test('a slice does not say where a structure is not that came back after it was drawn on', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('spleen'));
  const before = new Session('s', list, 2, 2, store, 'one');
  before.open(bytes(0, 0, 0, 0), head(['spleen']));
  before.draw(new Map([[0, bytes(1, 0)], [1, bytes(1, 0)]]));
  list.update(named('liver', 'spleen'));
  const liver = list.named('liver').value;
  before.receive(bytes(0, 1, 0, 1), head(['liver', 'spleen'], { 0: 5, 1: 5 }));
  before.draw(new Map([[1, bytes(1, liver)]])); // what else the server has of it there is not shown
  assert.deepEqual(before.submission().silent, { 0: ['liver'], 1: ['liver'] });
  before.keep(true);

  const after = new Session('s', list, 2, 2, store, 'two'); // after a reload
  after.open(bytes(0, 1, 0, 1), head(['liver', 'spleen'], { 0: 5, 1: 5 }));
  const submission = after.submission();
  assert.deepEqual(submission.silent, { 0: ['liver'], 1: ['liver'] });
  after.submitted(submission, { 0: 6, 1: 6 });
  assert.deepEqual(after.slices.stale({ 0: 6, 1: 6 }), [0, 1]); // the server may show more there
  after.receive(bytes(2, 1, 2, 1), head(['liver', 'spleen'], { 0: 6, 1: 6 }));
  after.draw(new Map([[0, bytes(1, 0)]]));
  assert.deepEqual(after.submission().silent, {});
});

test('a structure that was submitted on a slice is erased there as any other', () => {
  for (const way of ['erased', 'undone', 'meanwhile']) {
    const list = new Structures();
    list.update(named('liver'));
    const session = new Session('s', list, 1, 2, new MemoryStore(), 'one');
    session.open(bytes(0, 0), head(['liver']));
    session.draw(new Map([[0, bytes(1, 0)]]));
    list.update(named('liver', 'cyst')); // a new one, while the slice waits
    session.receive(bytes(0, 0), head(['liver', 'cyst']));
    session.draw(new Map([[0, bytes(1, 2)]]));
    const submission = session.submission();
    if (way === 'meanwhile') session.draw(new Map([[0, bytes(1, 0)]]));
    session.submitted(submission, { 0: 6 });
    if (way === 'erased') session.draw(new Map([[0, bytes(1, 0)]]));
    if (way === 'undone') session.undo();
    const again = session.submission();
    assert.deepEqual([[...again.voxels], again.silent], [[1, 0], {}], way);
  }
});

test('what has no structure on the server is not submitted under any name', () => {
  const list = new Structures();
  const one = new Session('s', list, 1, 2, new MemoryStore(), 'page');
  list.addUnnamed('Segment 1', 1);
  one.draw(new Map([[0, bytes(1, 1)]]));
  assert.throws(() => one.submission(), /"Segment 1" has no structure/);
  list.all[0].name = 'cyst';
  list.update(named('cyst'));
  assert.deepEqual(one.submission().label_info, [{ id: 'cyst', name: 'cyst', idx: 1 }]);
});

test('a full store is said, and another page that is open keeps its drafts', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  let now = 1000;
  const one = new Session('s', list, 1, 2, store, 'one', () => now);
  one.open(bytes(0, 0), head(['liver']));
  one.draw(new Map([[0, bytes(1, 1)]]));
  const two = new Session('s', list, 1, 2, store, 'two', () => now);
  assert.deepEqual(two.open(bytes(0, 0), head(['liver'])), []);
  now += 200_000; // not heard of for long: it is gone
  assert.deepEqual(new Session('s', list, 1, 2, store, 'three', () => now).open(bytes(0, 0), head(['liver'])), [0]);
  store.full = true;
  one.draw(new Map([[0, bytes(0, 1)]]));
  assert.equal(one.kept, false);
});

test("a window's own draft comes before that of another one on the same slice, and both are kept", () => {
  const store = new MemoryStore();
  const open = page => {
    const list = new Structures();
    list.update(named('liver'));
    const session = new Session('s', list, 2, 2, store, page);
    return { session, restored: session.open(bytes(0, 0, 0, 0), head(['liver'])) };
  };
  const [mine, theirs] = ['z', 'a'].map(page => open(page).session); // in the order of the store theirs is the first
  mine.draw(new Map([[0, bytes(1, 0)], [1, bytes(0, 1)]]));
  theirs.draw(new Map([[1, bytes(1, 1)]]));
  for (const one of [mine, theirs]) one.keep(true);
  const { session, restored } = open('z');
  assert.deepEqual([restored, [...session.slices.shown(1)]], [[0, 1], [0, 1]]);
  session.keep(true);
  assert.equal(store.length, 2);
});

test('an earlier session of a window changes no draft of a later one', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  const [early, late] = [0, 1].map(() => new Session('s', list, 1, 2, store, 'page'));
  early.open(bytes(0, 0), head(['liver']));
  late.open(bytes(0, 0), head(['liver']));
  late.draw(new Map([[0, bytes(1, 1)]]));
  assert.equal(early.keep(), true);
  assert.equal(store.length, 1);
});

test('a draft of before names were kept stands for places in the list', () => {
  const store = new MemoryStore();
  store.setItem('fewsam.draft|s|old', JSON.stringify({ alive: 0, slices: { 0: { seen: 0, runs: [1, 2] } } }));
  const list = new Structures();
  list.update(named('liver'));
  const one = new Session('s', list, 1, 2, store, 'new');
  assert.deepEqual([one.open(bytes(0, 0), head(['liver'])), [...one.slices.shown(0)]], [[0], [1, 1]]);
});

test('runs', () => {
  const values = bytes(0, 0, 5, 5, 5, 1);
  assert.deepEqual([...unpack(pack(values), 6)], [...values]);
  assert.equal(unpack([1, 3], 6), null);
  assert.ok(new Drafts(new MemoryStore(), 's', 'p'));
});

test('a pixel under a point obeys it, whatever the answer says', () => {
  const slice = bytes(1, 0, 2, 1);
  const planes = bytes(1, 0, 0, 1, /* without the points */ 1, 0, 0, 1);
  const points = [{ i: 1, j: 0, k: 0, include: true, value: 1 }, { i: 1, j: 1, k: 0, include: false, value: 1 }];
  assert.deepEqual([...corrected(slice, planes, 1, points, 2)], [1, 1, 2, 0]);
});

test('undo takes the points of its step back', () => {
  const list = new Structures();
  list.update(named('liver'));
  const one = new Session('s', list, 1, 2, new MemoryStore(), 'page');
  const point = { i: 0, j: 0, k: 0, include: true, value: 1 };
  one.correct(0, bytes(1, 0), [point]);
  one.correct(0, bytes(1, 0), [point, point]); // changed nothing but the points
  one.undo();
  assert.equal(one.points.length, 1);
  one.undo();
  assert.deepEqual([one.points, one.slices.dirty], [[], []]);
  one.redo();
  assert.deepEqual([one.points.length, one.slices.dirty], [1, [0]]);
});

test('the trail leads back, and skips what was skipped', () => {
  const trail = new Trail(new MemoryStore());
  const [here, there] = [{ study: 'a', series: 'b', slice: 1 }, { study: 'a', series: 'b', slice: 2 }];
  trail.leave(here);
  trail.leave(here); // once
  trail.leave(there);
  assert.deepEqual([trail.back(), trail.back(), trail.back()], [there, here, null]);
  trail.skip('b', 4);
  trail.skip('b', 4);
  assert.deepEqual([trail.skipped('b'), trail.skipped('c')], [[4], []]);
  trail.unshowable('x');
  assert.deepEqual(trail.unshown, ['x']);
});

test('what is not on a slice is said by a confirmation without it, also where it was not shown', () => {
  const list = new Structures();
  list.update(named('liver', 'spleen'));
  const one = new Session('s', list, 3, 2, new MemoryStore(), 'page');
  one.open(bytes(1, 2, 1, 1, 0, 0), head(['liver', 'spleen']));
  assert.deepEqual(one.absent(0, 1), [0]);
  assert.deepEqual(one.absent(1, 1), [1]);
  assert.deepEqual(one.absent(2, 1), []); // nothing is shown there, and nothing it is
  const { drawn, empty } = one.submission();
  assert.deepEqual([Object.keys(drawn), empty, [...one.slices.shown(0)]], [['0', '1', '2'], [1, 2], [0, 2]]);
  one.undo();
  one.undo();
  assert.deepEqual([one.slices.dirty, one.submission().empty], [[0], []]);
  one.undo();
  assert.deepEqual([one.slices.dirty, [...one.slices.shown(0)]], [[], [1, 2]]);
  one.redo();
  assert.deepEqual([one.slices.dirty, one.slices.isConfirmed(0)], [[0], true]);
});

test('what is drawn over a confirmation is drawn, and an emptied slice is asked about', () => {
  const list = new Structures();
  list.update(named('liver'));
  const one = new Session('s', list, 1, 2, new MemoryStore(), 'page');
  one.open(bytes(1, 1), head(['liver'], { 0: 3 }));
  one.confirm(0);
  one.draw(new Map([[0, bytes(0, 0)]]));
  assert.deepEqual([one.slices.isConfirmed(0), one.submission().empty], [false, []]);
});

test('keys start what the sheet says, and leave the viewer its own', () => {
  const press = (key, more = {}, digits = false) => pressed({ key, ...more }, digits);
  assert.deepEqual(press('b'), { tool: 'brush' });
  assert.deepEqual(press('B'), { tool: 'brush' }); // caps lock
  assert.deepEqual(press('n'), { command: 'next' });
  assert.deepEqual(press('N', { shiftKey: true }), { command: 'back' });
  assert.deepEqual(press('z', { ctrlKey: true }), { command: 'undo' });
  assert.deepEqual(press('Z', { metaKey: true, shiftKey: true }), { command: 'redo' });
  assert.deepEqual(press('?', { shiftKey: true }), { sheet: true });
  assert.deepEqual([press('3'), press('3', {}, true)], [null, { structure: 3 }]);
  assert.deepEqual(press(']'), { size: 1 });
  const viewers = ['z', '+', '-', '=', 'r', 'l', 'h', 'v', 'c', 'i', '.', ',', ' ', 'ArrowUp', 'Home', 'Escape', 'Enter', '1'];
  for (const key of viewers) assert.equal(press(key), null, key);
  assert.deepEqual([press('s', { ctrlKey: true }), press('b', { altKey: true }), press('S', { shiftKey: true })], [null, null, null]);
  const single = SHEET.flatMap(group => group.rows).map(([keys]) => keys).filter(keys => /^[A-Z0-9]$/.test(keys));
  for (const key of single) assert.ok(press(key.toLowerCase()), key);
});

test('the scale of the strip is fixed, and grows in lightness for every eye', () => {
  assert.deepEqual([colourOfError(0), colourOfError(0.05), colourOfError(1)], [STEPS[0].colour, STEPS[0].colour, STEPS.at(-1).colour]);
  const light = colour => unhex(colour).reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
  const steps = STEPS.map(step => light(step.colour));
  assert.ok(steps.every((value, n) => n === 0 || value - steps[n - 1] > 25), String(steps));
  const colours = [...STEPS, ...Object.values(MARKS)].map(one => one.colour);
  assert.equal(new Set(colours).size, colours.length);
});

test('looks are kept by structure; what is hidden or locked is not, when a page opens', () => {
  const store = new MemoryStore();
  keep(store, { ...LOOK, opacity: 0.7, hidden: [1], locked: [2], colours: { liver: [1, 2, 3] } });
  const look = kept(store);
  assert.deepEqual(look, { ...LOOK, opacity: 0.7, colours: { liver: [1, 2, 3] } });
  assert.deepEqual([colourOf(look, { id: 'liver', color: [9, 9, 9] }), colourOf(look, { id: 'x', color: [9, 9, 9] })], [[1, 2, 3], [9, 9, 9]]);
  store.setItem('fewsam.look', 'no JSON');
  assert.deepEqual([kept(store), unhex(hex([1, 20, 255]))], [LOOK, [1, 20, 255]]);
});

test('a long message is cut at a sentence, and nothing of it is lost', () => {
  assert.deepEqual(texts.inShort('Short.\nA note.'), ['Short.', 'A note.']);
  const long = `${'One sentence of some length. '.repeat(6)}End.`;
  const [short, more] = texts.inShort(long);
  assert.ok(short.length <= 84 && short.endsWith('.'));
  assert.equal(`${short} ${more}`, long);
});

test('a receipt says why the PACS has not taken the label', () => {
  const none = { added: [1], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  assert.match(texts.receipt({ ...none, waiting_for_pacs: 1, pacs_reason: 'the header has no PatientID' }), /no PatientID/);
  assert.doesNotMatch(texts.receipt({ ...none, waiting_for_pacs: 0 }), /PACS/);
});

test('a receipt of a label that is kept beside another one does not say that nothing is new', () => {
  const none = { added: [], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  assert.equal(texts.receipt({ ...none, beside: [2] }), 'Yours is kept beside the label of slice 3, which stays in force.');
  assert.match(texts.receipt({ ...none, beside: [] }), /Nothing new/);
});

test('what came of a training is said in steps, seconds and Dice of the slices held back', () => {
  const training = { state: 'done', steps: 260, seconds: 44.6, limits: { steps: 600, train_seconds: 45 }, measured_on: [1, 2], best_metric: 0.812, previous_metric: 0.74 };
  const { text, kind } = texts.trained({ training, model_version: 2, trained: true }, 1);
  assert.equal(kind, 'good');
  assert.match(text, /Model 2 is live\./);
  assert.match(text, /On 2 slices held back its Dice is 0\.81, 0\.74 before\./);
  assert.match(text, /stopped early, after 260 of 600 steps in 45 s: this machine is slow/);
  const whole = texts.trained({ training: { ...training, steps: 600, measured_on: [] }, model_version: 1, trained: true }, 1).text;
  assert.match(whole, /not better than what is served; model 1 stays\.\nIt took 600 steps in 45 s\./);
  const stopped = { state: 'stopped', kind: 'labelled', steps: 260, best_metric: 0 };
  assert.match(texts.trained({ training: stopped, model_version: 1, trained: true }, 1).text, /^Training stopped;/);
  const further = texts.trained({ training: { ...stopped, kind: 'unlabelled' }, model_version: 1, trained: true }, 1);
  assert.match(further.text, /^Learning from unlabelled images stopped;/);
  const running = { running: true, state: 'running', step: 12, seconds: 3.2, limits: { steps: 600, train_seconds: 45 } };
  assert.equal(texts.progress({ training: running }, ''), 'training, step 12 of 600, 3 s');
  assert.equal(texts.done({ step: 150, seconds: 9, limits: { steps: 600, train_seconds: 45 } }), 0.25);
  assert.equal(texts.done({ step: 12, seconds: 36, limits: { steps: 600, train_seconds: 45 } }), 0.8); // the clock ends it
  assert.equal(texts.done({}), undefined);
});

// -- an answer before all slices are encoded

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

test('that an answer will improve is not folded away', () => {
  const head = { trained: false, shots: 10, unencoded: Array.from({ length: 127 }, (_, k) => k), notes: ['untrained'] };
  const [shown, folded] = texts.inShort(texts.answer(head, 0));
  assert.equal(shown, 'Untrained answer, from 10 labelled slices. 127 slices improve once they are encoded.');
  assert.equal(folded, 'untrained');
});

test('the line below the progress counts down what the encoder still has to do for the open series', () => {
  const said = (encoding, image = {}) =>
    texts.progress({ training: {}, trained: true, model_version: 3, encoding, image: { id: 'ct', slices: 44, encoded: false, ...image } }, '');
  const here = { state: 'encoding', image: 'ct', slices_done: 17, slices_total: 44 };
  assert.equal(said({ ...here, views: { done: 35, total: 39 } }), 'Encoding: 31 left');
  assert.equal(said(here), 'Encoding: 27 left');
  assert.equal(said({ ...here, image: 'another' }), 'Encoding: 44 left');
  const live = 'Model 3 is live.';
  assert.equal(said(here, { encoded: true }), live);
  assert.equal(said({ ...here, error: 'the disk is full' }), live);
  assert.equal(said({ state: 'done' }), live);
});

test('a series is greeted with what can be done there', () => {
  const greeting = (slices, known) => texts.greeting({ drawn: [], served: false, ...known }, 0, { structures: [{ slices }], encoder: {} });
  assert.match(greeting(0, {}), /^Draw a structure on two or three slices, then Submit\.$/);
  assert.match(greeting(3, {}), /^Segment this series with what was learnt from the other ones, or draw on it\.$/);
  assert.equal(greeting(3, { served: true }), 'The last segmentation is shown.');
  assert.equal(greeting(3, { drawn: [4] }), '1 slice of this series labelled.');
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
