/** What clicked points change on a slice. */

import { Point } from './session';

/** The slice with the points' change to one structure; the server gives its mask with the points, and without.
 *
 * The pixel under a point always obeys the point.
 */
export function corrected(slice: Uint8Array, planes: Uint8Array, value: number, points: Point[], width: number): Uint8Array {
  const result = slice.slice();
  const drawn = slice.includes(value);
  for (let at = 0; at < slice.length; at++) {
    const [now, before] = [planes[at], planes[slice.length + at]];
    // Where the structure is shown already only what the points change is changed: strokes by hand stay.
    if (drawn && now === before) continue;
    if (now) result[at] = value;
    else if (slice[at] === value) result[at] = 0;
  }
  for (const { i, j, include } of points) {
    const at = j * width + i;
    if (include) result[at] = value;
    else if (result[at] === value) result[at] = 0;
  }
  return result;
}
