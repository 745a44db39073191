/** What is drawn and not submitted, kept in the browser: a reload must not lose it. */

import { Labelmap } from './labelmap';

const key = (series: string): string => `fewsam.draft.${series}`;

/** Runs of equal values: value, length, value, length, ... */
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

export function keep(map: Labelmap): void {
  if (!map.dirty.size) return localStorage.removeItem(key(map.series));
  const slices: Record<string, number[]> = {};
  for (const k of map.dirty) slices[k] = pack(map.slice(k));
  try {
    localStorage.setItem(key(map.series), JSON.stringify(slices));
  } catch {
    /* the browser's store is full: submitting is the way to keep it */
  }
}

/** Put the draft of a series back; how many slices it had. */
export function restore(map: Labelmap): number {
  const text = localStorage.getItem(key(map.series));
  if (!text) return 0;
  const slices = new Map<number, Uint8Array>();
  for (const [k, runs] of Object.entries(JSON.parse(text) as Record<string, number[]>)) {
    const values = unpack(runs, map.sliceSize);
    if (values && Number(k) < map.depth) slices.set(Number(k), values);
  }
  map.write(slices, true);
  return slices.size;
}
