/** Points, scribbles and boxes of a structure: what the server says of them, put onto what is shown. */

import type { Point } from './session';
import type { Pixels } from './slices';

/** Of each slice a plane: 1 where the structure is added, 2 where it is removed. */
export type Changes = Map<number, Pixels>;

/** The prompts as the server takes them. */
export function asked(points: Point[]): { kind: string; slice: number; include: boolean; points: [number, number][] }[] {
  return points.map(({ i, j, k, include, kind, line }) => ({ kind: kind ?? 'point', slice: k, include, points: line ?? [[i, j]] }));
}

/** Planes of the slices that the head of an answer names. */
export function planes(slices: number[], voxels: Uint8Array): Changes {
  const size = slices.length ? voxels.length / slices.length : 0;
  return new Map(slices.map((k, n) => [k, voxels.subarray(n * size, (n + 1) * size)]));
}

/** A slice with the change that its prompts make now, instead of the one they made before: what was drawn since stays.
 *
 * Args:
 *     slice: as it is shown.
 *     base: as it was before the first prompt.
 */
export function reapplied(slice: Pixels, base: Pixels, before: Pixels | undefined, now: Pixels | undefined, value: number): Pixels {
  const result = slice.slice();
  for (let at = 0; at < slice.length; at++) {
    const [was, is] = [before?.[at] ?? 0, now?.[at] ?? 0];
    if (was === is) continue;
    if (is === 1) result[at] = value;
    else if (is === 2) result[at] = result[at] === value ? 0 : result[at];
    else if (result[at] === (was === 1 ? value : 0)) result[at] = base[at]; // and not another structure that was drawn since
  }
  return result;
}

/** The pixels under points and scribbles obey them, whatever the server knew of what is drawn here. */
export function obeyed(slice: Pixels, points: Point[], width: number, value: number): Pixels {
  const result = slice.slice();
  for (const point of points.filter(one => one.kind !== 'box')) {
    for (const [i, j] of pixels(point.line ?? [[point.i, point.j]])) {
      const at = j * width + i;
      if (point.include) result[at] = value;
      else if (result[at] === value) result[at] = 0;
    }
  }
  return result;
}

/** Pixels along a line. */
function pixels(line: [number, number][]): [number, number][] {
  const found: [number, number][] = [line[0]];
  for (let n = 1; n < line.length; n++) {
    const [[i, j], [to, down]] = [line[n - 1], line[n]];
    const steps = Math.max(Math.abs(to - i), Math.abs(down - j));
    for (let s = 1; s <= steps; s++) found.push([Math.round(i + ((to - i) * s) / steps), Math.round(j + ((down - j) * s) / steps)]);
  }
  return found;
}
