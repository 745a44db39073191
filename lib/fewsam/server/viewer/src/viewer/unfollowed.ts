/** Labelmaps that the viewer still has and no session follows: what a person draws in one before it is followed again. */

import type { Session } from '../model/session';
import { type Pixels, same } from '../model/slices';

export class Unfollowed {
  private former = new Map<string, Session | null>(); // by segmentation; null: nothing was put into it yet

  /** The viewer has made a labelmap, and it is empty. */
  made(segmentationId: string): void {
    this.former.set(segmentationId, null);
  }

  /** A labelmap is as this session has it: what it shows beyond this was drawn since. */
  leave(segmentationId: string, session: Session): void {
    this.former.set(segmentationId, session);
  }

  /** The session that a labelmap was left with; null where there is none. */
  of(segmentationId: string): Session | null {
    return this.former.get(segmentationId) ?? null;
  }

  /** The sessions that labelmaps were left with, by segmentation, but for ``except``. */
  sessions(except = ''): [string, Session][] {
    return [...this.former].flatMap(([id, session]) => (session && id !== except ? [[id, session]] : []));
  }

  /** The slices that were drawn on since: what ``shown`` has of them now, with the strokes on it. */
  drawn(segmentationId: string, slices: Pixels[], shown: (k: number) => Pixels): Map<number, Pixels> {
    const former = this.former.get(segmentationId);
    const found = new Map<number, Pixels>();
    if (former === undefined) return found; // another panel left it: nobody knows how
    slices.forEach((now, k) => {
      const before = former?.slices.shown(k) ?? new Uint8Array(now.length);
      if (!same(before, now)) found.set(k, shown(k).map((value, at) => (now[at] === before[at] ? value : now[at])));
    });
    return found;
  }
}
