/** Labelmaps that the viewer still has and no session follows: what a person draws in one before it is followed again. */

import { pack, unpack } from '../model/drafts';
import { type Pixels, same } from '../model/slices';

export class Unfollowed {
  private held = new Map<string, number[][]>(); // by segmentation: its slices when it was last followed, as runs

  /** A labelmap is as its session has it: what it shows beyond this was drawn since. */
  hold(segmentationId: string, slices: Pixels[]): void {
    this.held.set(segmentationId, slices.map(pack));
  }

  /** The slices that were drawn on since: what ``shown`` has of them now, with the strokes on it. */
  drawn(segmentationId: string, slices: Pixels[], shown: (k: number) => Pixels): Map<number, Pixels> {
    const found = new Map<number, Pixels>();
    this.held.get(segmentationId)?.forEach((runs, k) => {
      const before = unpack(runs, slices[k]?.length ?? 0);
      if (!before || same(before, slices[k])) return;
      found.set(k, shown(k).map((value, at) => (slices[k][at] === before[at] ? value : slices[k][at])));
    });
    return found;
  }
}
