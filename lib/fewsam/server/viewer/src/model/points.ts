/** What clicked points change on a slice. */

import { Point } from './session';

/** The slice with the points' change to one structure; the server gives its mask with the points, and without.
 *
 * The pixel under a point always obeys the point. ``earlier`` is the mask with the points before the last one, where they
 * were answered here: the last point may take back what these brought.
 */
export function corrected(
  slice: Uint8Array, planes: Uint8Array, value: number, points: Point[], width: number, earlier?: Uint8Array,
): Uint8Array {
  const result = slice.slice();
  const drawn = slice.includes(value);
  for (let at = 0; at < slice.length; at++) {
    const [now, before] = [planes[at], earlier ? earlier[at] : planes[slice.length + at]];
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
