/** What one press of a button changes on slices: the pixels of one structure, as a step of the session. */

import { type Mask, between } from './masks';
import type { Pixels } from './slices';

export function maskOf(slice: Pixels, value: number): Mask {
  return slice.map(pixel => (pixel === value ? 1 : 0));
}

/** The slice with another mask of a structure, which takes only what is empty: other structures stay. */
export function withMask(slice: Pixels, value: number, mask: Mask): Pixels {
  return slice.map((pixel, at) => {
    if (mask[at]) return pixel || value;
    return pixel === value ? 0 : pixel;
  });
}

/** A slice as it was changed, but for the pixels of locked structures. */
export function sparing(changed: Pixels, slice: Pixels, locked: number[]): Pixels {
  return locked.length ? changed.map((value, at) => (locked.includes(slice[at]) ? slice[at] : value)) : changed;
}

/** The slice with a structure painted over it, or erased; pixels of ``locked`` structures stay. */
export function painted(slice: Pixels, value: number, area: Mask, erase: boolean, locked: number[] = []): Pixels {
  return slice.map((pixel, at) => {
    if (!area[at] || locked.includes(pixel)) return pixel;
    if (!erase) return value;
    return pixel === value ? 0 : pixel;
  });
}

/** A structure on the slices between two drawn ones that both show it, where nobody has drawn: new pixels by slice.
 *
 * Args:
 *     shown: what each slice shows.
 *     drawn: slices that a person drew or confirmed, in order.
 */
export function interpolated(shown: (k: number) => Pixels, drawn: number[], value: number, width: number): Map<number, Pixels> {
  const found = new Map<number, Pixels>();
  for (let n = 0; n + 1 < drawn.length; n++) {
    const [first, last] = [drawn[n], drawn[n + 1]];
    if (last - first < 2) continue;
    const [a, b] = [maskOf(shown(first), value), maskOf(shown(last), value)];
    if (!a.includes(1) || !b.includes(1)) continue;
    for (let k = first + 1; k < last; k++) {
      found.set(k, withMask(shown(k), value, between(a, b, (k - first) / (last - first), width)));
    }
  }
  return found;
}
