/** What is drawn and not submitted, kept in the browser: neither a reload nor another window on the same series loses it.
 *
 * Each page has drafts of its own. Those of a page that was closed, or that has not been heard of for a while, are
 * taken over by the next page on the series.
 */

import { Labelmap } from './labelmap';

interface Draft {
  /** Milliseconds since 1970; 0 once its page was closed. */
  alive: number;
  /** By slice: the submission that it was drawn over, and runs of equal values: value, length, value, length, ... */
  slices: Record<string, { seen: number; runs: number[] }>;
}

const SILENT = 150_000; // ms; a browser wakes a hidden page once a minute
const page = Math.random().toString(36).slice(2, 10);
const prefix = (series: string): string => `fewsam.draft|${series}|`;

export function pack(values: Uint8Array): number[] {
  const runs: number[] = [];
  for (let i = 0; i < values.length; ) {
    let end = i + 1;
    while (end < values.length && values[end] === values[i]) end++;
    runs.push(values[i], end - i);
    i = end;
  }
  return runs;
}

export function unpack(runs: number[], length: number): Uint8Array | null {
  const values = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    values.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  return at === length ? values : null;
}

/** Keep what is drawn; false where the browser's store is full, and submitting is the way to keep it. */
export function keep(map: Labelmap, closing = false): boolean {
  const key = prefix(map.series) + page;
  const draft: Draft = { alive: closing ? 0 : Date.now(), slices: {} };
  for (const k of map.dirty) draft.slices[k] = { seen: map.seen[k], runs: pack(map.slice(k)) };
  try {
    if (map.dirty.size) localStorage.setItem(key, JSON.stringify(draft));
    else localStorage.removeItem(key);
  } catch {
    return false;
  }
  return true;
}

/** Put back the drafts of pages that are gone, but for slices that are drawn on here; how many slices that were. */
export function restore(map: Labelmap): number {
  const slices = new Map<number, Uint8Array>();
  const seen: Record<string, number> = {};
  const gone: string[] = [];
  for (let n = 0; n < localStorage.length; n++) {
    const key = localStorage.key(n) ?? '';
    if (!key.startsWith(prefix(map.series))) continue;
    const draft = JSON.parse(localStorage.getItem(key) ?? '{}') as Draft;
    if (key !== prefix(map.series) + page && Date.now() - draft.alive < SILENT) continue;
    const entries = Object.entries(draft.slices ?? {}).map(([k, one]) => ({ k: Number(k), ...one }));
    if (entries.some(one => map.dirty.has(one.k) || slices.has(one.k))) continue; // one at a time: neither is lost
    for (const { k, runs, seen: submission } of entries) {
      const values = k < map.depth ? unpack(runs, map.sliceSize) : null;
      if (!values) continue;
      slices.set(k, values);
      seen[k] = submission;
    }
    gone.push(key);
  }
  map.saw(seen, [...slices.keys()]);
  map.write(slices, true);
  if (slices.size && keep(map)) gone.filter(key => key !== prefix(map.series) + page).forEach(key => localStorage.removeItem(key));
  return slices.size;
}
