/** The way through the slices that Next offers: where it led, what was skipped, what the viewer could not show.
 *
 * Going to another study loads the page anew, so that all of it is kept in the browser.
 */

export interface Place {
  study: string;
  series: string;
  slice: number;
}

type Store = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

const [TRAIL, SKIPPED, UNSHOWN, JUMP] = ['fewsam.trail', 'fewsam.skipped', 'fewsam.unshown', 'fewsam.jump'];
const LONGEST = 200;

export class Trail {
  constructor(private store: Store) {}

  /** Note where the person is, before Next leads elsewhere. */
  leave(place: Place): void {
    const places = this.read<Place[]>(TRAIL, []);
    const last = places[places.length - 1];
    if (last?.series === place.series && last.slice === place.slice) return;
    this.write(TRAIL, [...places, place].slice(-LONGEST));
  }

  get length(): number {
    return this.read<Place[]>(TRAIL, []).length;
  }

  /** Where the person was before; null at the start. */
  back(): Place | null {
    const places = this.read<Place[]>(TRAIL, []);
    const last = places.pop() ?? null;
    this.write(TRAIL, places);
    return last;
  }

  /** Do not offer a slice again in this sitting. */
  skip(series: string, slice: number): void {
    const all = this.read<Record<string, number[]>>(SKIPPED, {});
    this.write(SKIPPED, { ...all, [series]: [...new Set([...(all[series] ?? []), slice])] });
  }

  skipped(series: string): number[] {
    return this.read<Record<string, number[]>>(SKIPPED, {})[series] ?? [];
  }

  /** The viewer cannot show a series: it is not offered again. */
  unshowable(series: string): void {
    this.write(UNSHOWN, [...new Set([...this.unshown, series])]);
  }

  get unshown(): string[] {
    return this.read<string[]>(UNSHOWN, []);
  }

  /** Go to a place in another study once that is loaded. */
  depart(place: Place): void {
    this.write(JUMP, place);
  }

  get destination(): Place | null {
    return this.read<Place | null>(JUMP, null);
  }

  arrived(): void {
    this.store.removeItem(JUMP);
  }

  private read<T>(key: string, otherwise: T): T {
    try {
      return (JSON.parse(this.store.getItem(key) ?? 'null') as T | null) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  private write(key: string, value: unknown): void {
    try {
      this.store.setItem(key, JSON.stringify(value));
    } catch {
      /* a full store costs the way back, and no drawing */
    }
  }
}
