// Operations on the mask of a structure on a slice, on small pictures: "#" is of the mask.
import assert from 'node:assert/strict';
import test from 'node:test';
import { between, distances, filled, interpolated, painted, polygon, smoothed, withMask, withoutIslands } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

const mask = rows => Uint8Array.from([...rows.join('')], pixel => (pixel === '#' ? 1 : 0));
const picture = (pixels, width) => Array.from(pixels, value => (value ? '#' : '.')).join('').match(new RegExp(`.{${width}}`, 'g'));
const bytes = (...values) => Uint8Array.from(values);

test('holes are filled, bays are not', () => {
  const ring = ['######', '#.##..', '#.#.#.', '######', '......'];
  assert.deepEqual(picture(filled(mask(ring), 6), 6), ['######', '####..', '#####.', '######', '......']);
});

test('islands smaller than a tenth of the largest part go', () => {
  const rows = ['####......', '####......', '####....#.', '......##..'];
  assert.deepEqual(picture(withoutIslands(mask(rows), 10), 10), ['####......', '####......', '####......', '......##..']);
  assert.deepEqual(picture(withoutIslands(mask(['....', '....']), 4), 4), ['....', '....']);
});

test('smoothing takes spikes away and keeps what is straight', () => {
  const rows = Array.from({ length: 16 }, (_, j) => (j >= 8 ? '#'.repeat(16) : '.'.repeat(16)));
  rows[7] = rows[6] = '.......#........';
  const smooth = picture(smoothed(mask(rows), 16), 16);
  assert.ok(smooth.slice(0, 8).every(row => !row.includes('#')));
  assert.ok(smooth.slice(8).every(row => !row.includes('.')));
});

test('a polygon holds the pixels whose centre it encloses', () => {
  const square = [[0.5, 0.5], [3.5, 0.5], [3.5, 2.5], [0.5, 2.5]];
  assert.deepEqual(picture(polygon(square, 5, 4), 5), ['.....', '.###.', '.###.', '.....']);
  const beyond = [[-9, -9], [99, -9], [99, 1.5], [-9, 1.5]]; // is cut at the edge
  assert.deepEqual(picture(polygon(beyond, 4, 3), 4), ['####', '####', '....']);
});

test('distances are those to the outline, as counted by hand', () => {
  const found = distances(mask(['.....', '.###.', '.###.', '.###.', '.....']), 5);
  assert.deepEqual([found[12], found[11], found[10], found[5 * 2 + 4]], [1.5, 0.5, -0.5, -0.5]);
  assert.equal(found[0].toFixed(4), (0.5 - Math.SQRT2).toFixed(4));
});

test('half way between two squares that lie apart is a square in the middle', () => {
  const a = mask(['........', '.##.....', '.##.....', '........']);
  const b = mask(['........', '.....##.', '.....##.', '........']);
  assert.deepEqual(picture(between(a, b, 0.5, 8), 8), ['........', '...##...', '...##...', '........']);
  assert.deepEqual(picture(between(a, b, 0, 8), 8), picture(a, 8));
});

test('slices between drawn ones are filled, but for those beside one that does not show the structure', () => {
  const square = bytes(0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0);
  const other = square.map(value => (value ? 0 : 2));
  const slices = [square, other, square, new Uint8Array(16), new Uint8Array(16)];
  const found = interpolated(k => slices[k], [0, 2, 4], 1, 4);
  assert.deepEqual([...found.keys()], [1]);
  assert.deepEqual([...found.get(1)], [...other.map((value, at) => value || square[at])]);
});

test('what is put in place takes nothing from other structures, and what is painted nothing from locked ones', () => {
  assert.deepEqual([...withMask(bytes(1, 1, 2, 0), 1, bytes(0, 1, 1, 1))], [0, 1, 2, 1]);
  assert.deepEqual([...painted(bytes(0, 2, 3, 1), 1, bytes(1, 1, 1, 1), false, [3])], [1, 1, 3, 1]);
  assert.deepEqual([...painted(bytes(0, 2, 1, 1), 1, bytes(1, 1, 1, 0), true)], [0, 2, 0, 1]);
});
