// Points, scribbles and boxes: what the server says of them, put onto slices that are drawn on meanwhile.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Session, Structures, asked, obeyed, planes, reapplied } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

const bytes = (...values) => Uint8Array.from(values);
const point = (changes = {}) => ({ i: 1, j: 0, k: 2, include: true, value: 1, ...changes });

test('prompts are sent by kind, slice and points', () => {
  const line = [[0, 0], [3, 1]];
  assert.deepEqual(asked([point(), point({ kind: 'scribble', include: false, line })]), [
    { kind: 'point', slice: 2, include: true, points: [[1, 0]] },
    { kind: 'scribble', slice: 2, include: false, points: line },
  ]);
});

test('an answer has a plane for each slice that it names', () => {
  const found = planes([7, 3], bytes(1, 0, 0, 2));
  assert.deepEqual([...found].map(([k, plane]) => [k, [...plane]]), [[7, [1, 0]], [3, [0, 2]]]);
  assert.equal(planes([], bytes()).size, 0);
});

test('where a prompt withdraws, another structure that was drawn since stays', () => {
  const base = bytes(0, 0, 1);
  const first = reapplied(base, base, undefined, bytes(1, 1, 2), 1);
  first.set([3], 0); // a brush over what the prompt added, and over what it removed
  first.set([3], 2);
  assert.deepEqual([...reapplied(first, base, bytes(1, 1, 2), bytes(0, 0, 0), 1)], [3, 0, 3]);
});

test('a change adds and removes one structure alone', () => {
  const slice = bytes(0, 1, 1, 2, 0);
  assert.deepEqual([...reapplied(slice, slice, undefined, bytes(1, 2, 0, 2, 0), 1)], [1, 0, 1, 2, 0]);
});

test('the next answer takes the place of the one before, and a stroke in between stays', () => {
  const base = bytes(0, 0, 2, 0, 0);
  const first = reapplied(base, base, undefined, bytes(1, 1, 1, 0, 0), 1);
  assert.deepEqual([...first], [1, 1, 1, 0, 0]);
  const drawn = first.slice();
  drawn[4] = 3; // a stroke of another structure
  const next = reapplied(drawn, base, bytes(1, 1, 1, 0, 0), bytes(0, 1, 0, 1, 0), 1);
  assert.deepEqual([...next], [0, 1, 2, 1, 3]); // what it no longer adds is as it was before
});

test('pixels under points and along scribbles obey, also over what the server does not know', () => {
  const line = [[0, 0], [2, 0]];
  assert.deepEqual([...obeyed(bytes(2, 0, 2, 0), [point({ kind: 'scribble', line })], 4, 1)], [1, 1, 1, 0]);
  assert.deepEqual([...obeyed(bytes(1, 1, 2, 1), [point({ kind: 'scribble', include: false, line })], 4, 1)], [0, 0, 2, 1]);
  assert.deepEqual([...obeyed(bytes(0, 0), [point({ kind: 'box', line: [[0, 0], [1, 0]] })], 2, 1)], [0, 0]);
});

test('prompts on several slices are one step of undo, with the prompts', () => {
  const store = { length: 0, key: () => null, getItem: () => null, setItem() {}, removeItem() {} };
  const structures = new Structures();
  structures.update([{ id: 'liver', name: 'liver', color: [1, 2, 3], slices: 0 }]);
  const session = new Session('s', structures, 3, 2, store, 'page');
  session.receive(bytes(0, 0, 0, 0, 0, 0), { structures: [], submissions: {} });
  assert.deepEqual(session.correctAll(new Map([[1, bytes(1, 0)], [2, bytes(0, 1)]]), [point()]).sort(), [1, 2]);
  assert.deepEqual([session.points.length, [...session.slices.dirty]], [1, [1, 2]]);
  session.undo();
  assert.deepEqual([session.points, [...session.slices.dirty], [...session.slices.shown(2)]], [[], [], [0, 0]]);
  session.redo();
  assert.deepEqual([session.points.length, [...session.slices.shown(2)]], [1, [0, 1]]);
});
