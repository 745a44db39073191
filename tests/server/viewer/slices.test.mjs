// The slices of a series: what the server has, what is drawn over it, and the way back.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Session, Structures } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { MemoryStore, bytes, head, named, slices } from './series.mjs';

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
