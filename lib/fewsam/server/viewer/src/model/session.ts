/** The work of one window on one series: what it shows, what it sends, what it keeps. Knows neither DOM nor viewer. */

import { Drafts, Store } from './drafts';
import { Drawn, Pixels, Slices } from './slices';
import { Named, Structures } from './structures';

/** A prompt at pixel (i, j) of slice k, for the structure of this voxel value: a point, a scribble, or a box. */
export interface Point {
  i: number;
  j: number;
  k: number;
  include: boolean;
  value: number;
  kind?: 'scribble' | 'box';
  /** Of a scribble its line, of a box two corners. */
  line?: [number, number][];
}

/** What the server says beside voxels: what their values mean, and the submission of each labelled slice. */
export interface Head {
  /** Which version of the image they are of: another one may have its slices at other places in the body. */
  content_hash?: string;
  structures: { id?: string; name: string }[];
  submissions: Record<string, number>;
}

/** A submission on its way; ``sent`` is what to tell :meth:`Session.submitted`. */
export interface Submission {
  voxels: Pixels;
  /** The version of the image that was drawn on; undefined where the server has not said. */
  content_hash?: string;
  label_info: { id: string; name: string; idx: number }[];
  drawn: Record<string, number>;
  /** Slices of which a person said that nothing is on them. */
  empty: number[];
  /** Slice -> structures that came after it was drawn on: of those it says what is drawn of them, and nothing else. */
  silent: Record<string, string[]>;
  sent: Map<number, Drawn>;
}

export class Session {
  readonly slices: Slices<Point[]>;
  points: Point[] = [];
  private readonly drafts: Drafts;
  /** Until it is true, drawings cannot be told from labels, and nothing is kept: drafts are still to be put back. */
  opened = false;
  /** The version of the image that is drawn on. */
  image?: string;
  /** Whether the browser keeps what is drawn: false where its store is full. */
  kept = true;

  constructor(
    readonly series: string,
    readonly structures: Structures,
    depth: number,
    size: number,
    store: Store,
    page: string,
    now: () => number = Date.now,
  ) {
    this.slices = new Slices(depth, size);
    this.drafts = new Drafts(store, series, `${page}|${depth}`, now);
  }

  /** Take what the server has, and the drafts that this browser kept; the slices put back from drafts. */
  open(voxels: Pixels, head: Head): number[] {
    this.image = head.content_hash;
    this.drafts.of(this.image);
    this.receive(voxels, head);
    this.opened = true;
    return this.drafts.restore(this.slices, this.structures);
  }

  /** Put back the drafts of pages that have gone silent meanwhile: they crashed; the slices put back. */
  putBack(): number[] {
    return this.drafts.look(this.slices, this.structures);
  }

  /** Slices of drafts that were not put back, since the series has other slices by now. */
  get misfits(): number {
    return this.drafts.misfits;
  }

  /** Take what another session on the series has drawn, where the browser could not keep it; the slices taken. */
  takeOver(former: Session): number[] {
    if (former.image !== this.image) return []; // its slices are other places
    const drawn = former.slices.outgoing();
    for (const [k, one] of drawn) this.slices.adopt(k, one);
    this.keep();
    return [...drawn.keys()];
  }

  /** Take what the server has: labels of others, an answer of the model. No step of undo; drawn slices stay.
   *
   * Raises:
   *     Error: it is of another version of the image.
   */
  receive(voxels: Pixels, head: Head): number[] {
    if (this.image && head.content_hash && head.content_hash !== this.image) {
      throw new Error('The series has changed since it was opened here; reload the page.');
    }
    const known = head.structures.flatMap(one => one.id ?? []);
    return this.slices.receive(this.structures.fromServer(voxels, head.structures), head.submissions, known);
  }

  /** One stroke, or whatever else changed pixels by hand. */
  draw(slices: Map<number, Pixels>): number[] {
    return this.keeping(this.slices.draw(slices));
  }

  /** A slice as clicked points changed it: one step with the points. */
  correct(k: number, pixels: Pixels, points: Point[]): number[] {
    const note = { before: this.points, after: points };
    this.points = points;
    return this.keeping(this.slices.draw(new Map([[k, pixels]]), note));
  }

  /** Slices as prompts changed them: one step with the prompts. */
  correctAll(slices: Map<number, Pixels>, points: Point[]): number[] {
    const note = { before: this.points, after: points };
    this.points = points;
    return this.keeping(this.slices.draw(slices, note));
  }

  /** The slice is right as it is shown. */
  confirm(k: number): number[] {
    return this.keeping(this.slices.confirm(k));
  }

  /** The structure of this voxel value is not on the slice. */
  absent(k: number, value: number): number[] {
    const { id } = this.structures.of(value) ?? {};
    const values = this.structures.known.filter(one => one.value === value || (id && one.id === id)).map(one => one.value);
    return this.keeping(this.slices.confirm(k, this.slices.shown(k).map(pixel => (values.includes(pixel) ? 0 : pixel))));
  }

  discard(slices: number[]): number[] {
    return this.keeping(this.slices.discard(slices));
  }

  undo(): number[] | null {
    return this.stepped(this.slices.undo());
  }

  redo(): number[] | null {
    return this.stepped(this.slices.redo());
  }

  /** What is drawn, to be submitted; null where nothing is.
   *
   * Raises:
   *     Error: a segment that is drawn has no structure on the server.
   */
  submission(): Submission | null {
    const sent = this.slices.outgoing();
    if (!sent.size) return null;
    const used = new Set([...sent.values()].flatMap(({ pixels }) => [...new Set(pixels)]));
    const nameless = this.structures.key(used).filter(one => !one.id);
    if (nameless.length) {
      const which = nameless.map(one => `"${one.name}"`).join(', ');
      throw new Error(`${which} has no structure on the server: name it in the list of structures first, then submit.`);
    }
    const all = [...used, ...this.structures.all.filter(one => one.id).map(one => one.value)];
    const label_info = this.structures.key(all).map(({ id, name, value }) => ({ id, name, idx: value }));
    const drawn = Object.fromEntries([...sent].map(([k, { seen }]) => [k, seen]));
    const voxels = new Uint8Array(this.slices.depth * this.slices.size);
    for (const [k, { pixels }] of sent) voxels.set(pixels, k * this.slices.size);
    const empty = [...sent].filter(([, { pixels, confirmed }]) => confirmed && !pixels.some(Boolean)).map(([k]) => k);
    const silent: Record<string, string[]> = {};
    for (const [k, one] of sent) {
      one.says = label_info.filter(({ idx }) => one.pixels.includes(idx)).map(({ id }) => id);
      const unsaid = one.knows ? label_info.map(({ id }) => id).filter(id => !one.knows!.includes(id)) : [];
      if (unsaid.length) silent[k] = [...new Set(unsaid)];
    }
    return { voxels, content_hash: this.image, label_info, drawn, empty, silent, sent };
  }

  submitted(submission: Submission, submissions: Record<string, number>, uncertain: number[] = []): void {
    // Where it said nothing of a structure, the server may show that one now.
    const more = Object.keys(submission.silent).map(Number);
    this.slices.submitted(submission.sent, submissions, [...uncertain, ...more]);
    this.points = [];
    this.keep();
  }

  /** The server's list of structures. Whether names or numbers changed. */
  rename(server: Named[]): boolean {
    return this.structures.update(server);
  }

  /** Keep what is drawn in the browser, and say that this window is open, or is closing. */
  keep(closing = false): boolean {
    if (!this.opened) return this.kept;
    return (this.kept = this.drafts.keep(this.slices, this.structures, closing));
  }

  private keeping(changed: number[]): number[] {
    this.keep();
    return changed;
  }

  private stepped(step: { changed: number[]; note?: Point[] } | null): number[] | null {
    if (!step) return null;
    if (step.note) this.points = step.note;
    return this.keeping(step.changed);
  }
}
