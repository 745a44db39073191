/** What is drawn and not submitted, kept in the browser: neither a reload nor another window on the same series loses it.
 *
 * Each page has drafts of its own. Those of a page that was closed, or that has not been heard of for a while, are
 * taken over by the next page on the series. A draft says by identity and name what its voxel values mean.
 */

import { Pixels, Slices, same } from './slices';
import { Structures } from './structures';

/** Where drafts are kept: the browser's local storage. */
export type Store = Pick<Storage, 'length' | 'key' | 'getItem' | 'setItem' | 'removeItem'>;

interface KeptSlice {
  seen: number;
  confirmed?: boolean;
  knows?: string[];
  /** Runs of equal values: value, length, value, length, ... */
  runs: number[];
}

interface Draft {
  /** Milliseconds since 1970; 0 once its page was closed. */
  alive: number;
  /** What the values mean. Drafts of before this was kept have none: theirs are places in the server's list. */
  key?: { id: string; name: string; value: number }[];
  /** Slices of the series as it was. Drafts of before this was kept have none. */
  depth?: number;
  /** The version of the image. Drafts of before this was kept have none. */
  image?: string;
  slices: Record<string, KeptSlice>;
}

/** The drafts that were put back last under each name: what an earlier session still has to say is older. */
const owners = new WeakMap<Store, Map<string, Drafts>>();

const SILENT = 150_000; // ms; a browser wakes a hidden page once a minute

export class Drafts {
  private readonly prefix: string;
  private own: string;
  private image?: string;
  /** Slices of drafts that stay in the store: the series has other slices by now, and theirs may be other places. */
  misfits = 0;
  private looked = 0; // the last look for drafts of other pages

  constructor(
    private store: Store,
    series: string,
    page: string,
    private now: () => number = Date.now,
  ) {
    this.prefix = `fewsam.draft|${series}|`;
    this.own = this.prefix + page;
  }

  /** The version of the image that is drawn on. A page that opens another one does not write over what it kept before. */
  of(image?: string): void {
    if (image && !this.image) this.own += `|${image}`;
    this.image = image;
  }

  /** Keep what is drawn; false where the store is full, and submitting is the way to keep it. */
  keep(slices: Slices<any>, structures: Structures, closing = false): boolean {
    if ((owners.get(this.store)?.get(this.own) ?? this) !== this) return true;
    const used = new Set<number>();
    const draft: Draft = { alive: closing ? 0 : this.now(), depth: slices.depth, ...(this.image && { image: this.image }), slices: {} };
    for (const [k, { pixels, seen, confirmed, knows }] of slices.outgoing()) {
      const runs = pack(pixels);
      for (let i = 0; i < runs.length; i += 2) used.add(runs[i]);
      draft.slices[k] = { seen, runs, ...(confirmed && { confirmed }), ...(knows && { knows }) };
    }
    draft.key = structures.key(used);
    try {
      if (slices.dirty.length) this.store.setItem(this.own, JSON.stringify(draft));
      else this.store.removeItem(this.own);
    } catch {
      return false;
    }
    return true;
  }

  /**
   * Put back the drafts of pages that have gone silent since the last look; the slices put back. Those of a page that was
   * closed are left: it may be loading again, and what was drawn there would go to another window.
   */
  look(slices: Slices<any>, structures: Structures): number[] {
    const slept = this.now() - this.looked >= SILENT; // as all pages did: those that are open still say so
    this.looked = this.now();
    return slept ? [] : this.restore(slices, structures, false);
  }

  /** Put back the drafts of pages that are gone, but for slices that are worked on here; the slices put back. */
  restore(slices: Slices<any>, structures: Structures, closed = true): number[] {
    owners.set(this.store, (owners.get(this.store) ?? new Map<string, Drafts>()).set(this.own, this));
    const restored: number[] = [];
    const taken: string[] = [];
    this.misfits = 0;
    this.looked = this.now();
    for (const name of this.names()) {
      const draft = read(this.store.getItem(name));
      if (!draft || (name !== this.own && this.now() - draft.alive < SILENT)) continue;
      if (!closed && draft.alive === 0) continue;
      const wanted = Object.keys(draft.slices).map(Number);
      const other = draft.image && this.image && draft.image !== this.image;
      if (other || (draft.depth ?? slices.depth) !== slices.depth) {
        this.misfits += wanted.length;
        continue;
      }
      if (wanted.some(k => slices.isWorkedOn(k))) continue; // one at a time: neither is lost
      const table = draft.key ? meanings(draft.key, structures) : null;
      const entries = wanted.map(k => ({ k, one: draft.slices[k], pixels: unpack(draft.slices[k]?.runs ?? [], slices.size) }));
      if (entries.some(({ k, pixels }) => !pixels || !(k < slices.depth))) continue; // of another grid, or damaged: stays in the store
      for (const { k, one, pixels } of entries) {
        const here = table ? pixels!.map(value => table[value]) : pixels!;
        if (slices.seen(k) && same(here, slices.shown(k))) continue; // it is the label by now
        slices.adopt(k, { pixels: here, seen: one.seen, confirmed: one.confirmed, knows: one.knows });
        restored.push(k);
      }
      taken.push(name);
    }
    if (taken.length && this.keep(slices, structures)) {
      taken.filter(name => name !== this.own).forEach(name => this.store.removeItem(name));
    }
    return restored.sort((a, b) => a - b);
  }

  private names(): string[] {
    const names = Array.from({ length: this.store.length }, (_, n) => this.store.key(n) ?? '');
    const others = names.filter(name => name.startsWith(this.prefix) && name !== this.own).sort();
    return names.includes(this.own) ? [this.own, ...others] : others; // what is kept from here on takes the place of its own
  }
}

function meanings(key: NonNullable<Draft['key']>, structures: Structures): Pixels {
  const table = new Uint8Array(256);
  for (const one of key) table[one.value] = structures.valueFor(one);
  return table;
}

function read(text: string | null): Draft | null {
  try {
    const draft = JSON.parse(text ?? '') as Draft;
    return draft?.slices ? draft : null;
  } catch {
    return null;
  }
}

export function pack(values: Pixels): number[] {
  const runs: number[] = [];
  for (let i = 0; i < values.length; ) {
    let end = i + 1;
    while (end < values.length && values[end] === values[i]) end++;
    runs.push(values[i], end - i);
    i = end;
  }
  return runs;
}

export function unpack(runs: number[], length: number): Pixels | null {
  const values = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    values.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  return at === length ? values : null;
}
