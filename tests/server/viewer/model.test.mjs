// What else the panel keeps: packed masks, points, the trail of slices, keys, looks and the colours of the strip.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  Drafts, LOOK, MARKS, SHEET, STEPS, Session, Structures, Trail, colourOf, colourOfError, corrected, hex, keep, kept, pack, pressed, unhex, unpack,
} from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { MemoryStore, bytes, named } from './series.mjs';

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
