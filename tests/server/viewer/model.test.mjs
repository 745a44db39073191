// What the panel keeps of a series, without a viewer: slices with undo and redo, structures by name, drafts, points.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Drafts, Session, Slices, Structures, Trail, corrected, pack, unpack } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

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
  one.draw(new Map([[0, bytes(1, 1)]]));
  const two = new Session('s', list, 1, 2, store, 'two', () => now);
  assert.deepEqual(two.open(bytes(0, 0), head(['liver'])), []);
  now += 200_000; // not heard of for long: it is gone
  assert.deepEqual(new Session('s', list, 1, 2, store, 'three', () => now).open(bytes(0, 0), head(['liver'])), [0]);
  store.full = true;
  one.draw(new Map([[0, bytes(0, 1)]]));
  assert.equal(one.kept, false);
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
