/** What the acts of the panel work with: the open series, the store, and one thing at a time. */

import type { Head } from '../model/session';
import type { Structures } from '../model/structures';
import * as texts from '../model/texts';
import { isShown } from '../viewer/grid';
import type { Answer, Kind, Store } from '../store';
import type { Labelmap } from '../viewer/labelmap';

export interface Desk {
  readonly store: Store;
  readonly structures: Structures;
  /** Of the open series; null while none is open. */
  map: Labelmap | null;
  /**
   * Do something that asks the server; nothing else is begun meanwhile, and an error is said. It is for the series that
   * is open at the call, or for ``of``: where that one is left before its turn comes, nothing is done.
   */
  work(what: string, todo: (map: Labelmap) => Promise<void>, of?: Labelmap | null): Promise<void>;
  say(text: string, kind: Kind, answers?: Answer[]): void;
  /** Ask the server how things are. */
  refresh(): Promise<void>;
  /** Forget what was asked before now: its answers tell how things were before something was begun. */
  overtake(): void;
  /** Take what the server has of the open series; false where another one was opened meanwhile. */
  fetch(): Promise<boolean>;
  /** The slices that look different now; null where another series was opened meanwhile. */
  take(map: Labelmap, voxels: Uint8Array, head: Head): Promise<number[] | null>;
  /** Keep in the browser all that is drawn on the page; false where its store is full. */
  keep(): boolean;
  choose(value: number): void;
  /** Bring what is shown up to date with the open series. */
  show(): void;
}

/**
 * The open series, for what is done to the slice on the screen; null while the viewer shows another series, which the
 * next look opens.
 */
export function onScreen(desk: Desk): Labelmap | null {
  const { map } = desk;
  if (!map || isShown(map.series, map.viewportId)) return map;
  desk.say(texts.opening, 'bad');
  return null;
}

/** Whether a series was left meanwhile; it is said then, and what was asked for there is not to be done in another one. */
export function left(desk: Desk, map: Labelmap): boolean {
  if (desk.map === map) return false;
  desk.say(texts.left, 'bad');
  return true;
}
