/** The slices of one series: what the server has of each, what was drawn over it by hand, and the way back.
 *
 * A slice is either clean, and shows what the server has, or drawn: it differs by hand and waits to be submitted. Undo
 * and redo restore both the pixels and this state. What comes from the server is never a step of undo, and makes
 * nothing drawn. Knows neither the DOM nor the viewer.
 */

export type Pixels = Uint8Array;

/** A drawn slice. */
export interface Drawn {
  pixels: Pixels;
  /** The submission that it was drawn over, 0 for none. */
  seen: number;
  /** A person said that it is right as it is: it is submitted even where it is what the server has. */
  confirmed?: boolean;
  /** Identities of the structures that the server showed here when it was drawn; of others its pixels say nothing. */
  knows?: string[];
  /** On its way to the server: identities of the structures on it, which it then says all of. */
  says?: string[];
}

interface Change {
  k: number;
  before: Drawn | null; // null: clean
  after: Drawn | null;
}

/** One step of undo; ``note``: what else it changed, such as the clicked points. */
interface Step<Note> {
  changes: Change[];
  note?: { before: Note; after: Note };
}

const UNDO_STEPS = 100;
const UNKNOWN = -1; // no submission has this number: the slice is fetched again

export class Slices<Note = unknown> {
  private base: Pixels[]; // as the server has them
  private submission: number[]; // that the base of each is of
  private known: (string[] | undefined)[]; // the structures that it shows
  private drawn = new Map<number, Drawn>();
  private done: Step<Note>[] = [];
  private undone: Step<Note>[] = [];

  constructor(
    readonly depth: number,
    readonly size: number,
  ) {
    this.base = Array.from({ length: depth }, () => new Uint8Array(size));
    this.submission = new Array(depth).fill(0);
    this.known = new Array(depth);
  }

  /** What a slice shows. */
  shown(k: number): Pixels {
    return this.drawn.get(k)?.pixels ?? this.base[k];
  }

  /** Slices that wait to be submitted, in order. */
  get dirty(): number[] {
    return [...this.drawn.keys()].sort((a, b) => a - b);
  }

  isDirty(k: number): boolean {
    return this.drawn.has(k);
  }

  /** Whether a slice is drawn, or undo or redo leads back to where it was. */
  isWorkedOn(k: number): boolean {
    return this.drawn.has(k) || [...this.done, ...this.undone].some(step => step.changes.some(one => one.k === k));
  }

  /** The submission that a slice shows, or was drawn over. */
  seen(k: number): number {
    return this.drawn.get(k)?.seen ?? this.submission[k];
  }

  /** The submission of each slice that shows one. */
  get submissions(): Record<string, number> {
    return Object.fromEntries(this.every(k => this.submission[k] !== 0).map(k => [k, this.submission[k]]));
  }

  /** The structures that a slice shows, or was drawn over; undefined where that is not known. */
  knows(k: number): string[] | undefined {
    return this.drawn.has(k) ? this.drawn.get(k)!.knows : this.known[k];
  }

  /** Slices of which the server has another submission than the one shown or drawn over here. */
  outdated(submissions: Record<string, number>): number[] {
    return this.every(k => this.seen(k) !== (submissions[k] ?? 0));
  }

  /** Clean slices to be fetched again. */
  stale(submissions: Record<string, number>): number[] {
    return this.every(k => !this.drawn.has(k) && this.submission[k] !== (submissions[k] ?? 0));
  }

  get undoSteps(): number {
    return this.done.length;
  }

  get redoSteps(): number {
    return this.undone.length;
  }

  /** Draw by hand, as one step; the slices that changed. A slice drawn back to what the server has is clean. */
  draw(slices: Map<number, Pixels>, note?: { before: Note; after: Note }): number[] {
    const changes: Change[] = [];
    for (const [k, pixels] of slices) {
      if (same(pixels, this.shown(k))) continue;
      const before = this.drawn.get(k) ?? null;
      changes.push({ k, before, after: this.normal(k, { pixels: pixels.slice(), seen: this.seen(k), knows: this.knows(k) }) });
    }
    return this.step({ changes, note });
  }

  /** Say that a slice is right as it is shown, or with these pixels: it is to be submitted although nobody drew on it. */
  confirm(k: number, pixels: Pixels = this.shown(k)): number[] {
    const before = this.drawn.get(k) ?? null;
    if (before && same(pixels, before.pixels)) return [];
    return this.step({ changes: [{ k, before, after: { pixels: pixels.slice(), seen: this.seen(k), confirmed: true, knows: this.knows(k) } }] });
  }

  /** Whether a slice waits to be submitted because a person said that it is right, or what is not on it. */
  isConfirmed(k: number): boolean {
    return this.drawn.get(k)?.confirmed === true;
  }

  /** Give up what is drawn on slices, as one step: they show what the server has. */
  discard(slices: number[]): number[] {
    const changes = slices
      .filter(k => this.drawn.has(k))
      // Whoever goes back to the drawing has seen what the server has: it is not asked about again.
      .map(k => ({ k, before: { pixels: this.drawn.get(k)!.pixels, seen: this.submission[k], knows: this.known[k] }, after: null }));
    return this.step({ changes });
  }

  /** The slices that changed, and the note as it was before the step; null where there is nothing to undo. */
  undo(): { changed: number[]; note?: Note } | null {
    const step = this.done.pop();
    if (!step) return null;
    this.undone.push(step);
    return { changed: this.restore(step.changes.map(({ k, before }) => [k, before])), note: step.note?.before };
  }

  redo(): { changed: number[]; note?: Note } | null {
    const step = this.undone.pop();
    if (!step) return null;
    this.done.push(step);
    return { changed: this.restore(step.changes.map(({ k, after }) => [k, after])), note: step.note?.after };
  }

  /** Take what the server has of all slices; drawn ones stay as drawn. The slices that look different now. */
  receive(voxels: Pixels, submissions: Record<string, number>, known?: string[]): number[] {
    if (voxels.length !== this.depth * this.size) {
      throw new Error('The answer does not fit this series; reload the page.');
    }
    const changed: number[] = [];
    for (let k = 0; k < this.depth; k++) {
      const part = voxels.subarray(k * this.size, (k + 1) * this.size);
      if (!this.drawn.has(k) && !same(part, this.base[k])) changed.push(k);
      this.base[k] = part.slice();
      this.submission[k] = submissions[k] ?? 0;
      this.known[k] = known;
    }
    return changed;
  }

  /** Put a draft in place: drawn, and no step of undo. */
  adopt(k: number, draft: Drawn): void {
    this.drawn.set(k, { ...draft, pixels: draft.pixels.slice() });
  }

  /** What is drawn, as it is sent. */
  outgoing(): Map<number, Drawn> {
    return new Map(this.dirty.map(k => [k, { ...this.drawn.get(k)!, pixels: this.shown(k).slice() }]));
  }

  /** The server has taken what was sent. What was drawn on since is still to be submitted.
   *
   * ``uncertain``: slices of which it took something else than was sent; they are fetched again.
   */
  submitted(sent: Map<number, Drawn>, submissions: Record<string, number>, uncertain: number[] = []): void {
    for (const [k, { pixels, knows, says = [] }] of sent) {
      // What the person has submitted here they have seen: from now on, leaving it out is erasing it.
      const more = (list?: string[]): string[] | undefined => list && [...list, ...says];
      const former = this.base[k];
      this.base[k] = pixels.slice();
      this.submission[k] = uncertain.includes(k) ? UNKNOWN : (submissions[k] ?? 0);
      this.known[k] = more(knows);
      const seen = this.submission[k];
      // To go back behind the submission is a new drawing: what was clean then is not what the server has now.
      const kept = (state: Drawn | null): Drawn => ({ pixels: state?.pixels ?? former, seen, knows: more(state ? state.knows : knows) });
      for (const change of [...this.done, ...this.undone].flatMap(step => step.changes).filter(one => one.k === k)) {
        change.before = kept(change.before);
        change.after = kept(change.after);
      }
      const now = this.drawn.get(k);
      if (!now || same(now.pixels, pixels)) this.drawn.delete(k);
      else this.drawn.set(k, { pixels: now.pixels, seen, knows: more(now.knows) });
    }
  }

  /** Voxels of all slices as they are shown, slice after slice. */
  all(): Pixels {
    const voxels = new Uint8Array(this.depth * this.size);
    for (let k = 0; k < this.depth; k++) voxels.set(this.shown(k), k * this.size);
    return voxels;
  }

  private step(step: Step<Note>): number[] {
    if (!step.changes.length && !step.note) return [];
    this.done.push(step);
    if (this.done.length > UNDO_STEPS) this.done.shift();
    this.undone = [];
    return this.restore(step.changes.map(({ k, after }) => [k, after]));
  }

  private restore(states: [number, Drawn | null][]): number[] {
    return states.flatMap(([k, state]) => {
      const before = this.shown(k);
      const now = state && this.normal(k, state);
      if (now) this.drawn.set(k, now);
      else this.drawn.delete(k);
      return same(before, this.shown(k)) ? [] : [k];
    });
  }

  /** A drawing that is what the server has is none, unless a person has confirmed it. */
  private normal(k: number, state: Drawn): Drawn | null {
    return same(state.pixels, this.base[k]) && !state.confirmed ? null : state;
  }

  private every(wanted: (k: number) => boolean): number[] {
    return this.base.flatMap((_, k) => (wanted(k) ? [k] : []));
  }
}

export function same(a: Pixels, b: Pixels): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}
