/** What the panel knows of people and of the worklist: read by its components, changed by its acts. No DOM, no viewer. */

import { computed, signal } from '@preact/signals';
import type { State } from './api';

export type Place = 'not started' | 'in progress' | 'unsure' | 'sent back' | 'done' | 'accepted';

/** A series in the worklist. */
export interface Series {
  image: string;
  description: string;
  modality: string;
  state: Place;
  labelled_slices: number;
  slices: number | null;
  labelled_by: string;
  /** Those who have it open now. */
  people: string[];
  /** Number of the last mark, 0 for none. */
  mark: number;
  marked_by: string;
  note: string;
  /** Labelled after it was marked. */
  changed_since: boolean;
  /** The series has other instances in the PACS than when it was marked: what was finished is not any more. */
  grown_since?: boolean;
}

export interface Study {
  study: string;
  patient: string;
  date: string;
  series: Series[];
}

export interface Worklist {
  studies: Study[];
  counts: Record<Place, number>;
  can_review: boolean;
  problem: string;
}

/** A label of a slice that is kept beside the one in force; its Dice with that one, by structure. */
export interface Reading {
  reading: number;
  annotator: string;
  structures: string[];
  dice: Record<string, number | null>;
}

/** A slice that two people labelled. */
export interface ReadSlice {
  slice: number;
  in_force: { annotator: string; submission: number } | null;
  readings: Reading[];
}

const NAME = 'fewsam.name';

/** A person's name, kept in the browser: asked once. */
export function storedName(): string {
  return typeof localStorage === 'undefined' ? '' : (localStorage.getItem(NAME) ?? '');
}

export class Lab {
  readonly name = signal(storedName());
  /** A name, or a note for a series that is sent back, as it is typed. */
  readonly typed = signal('');
  readonly note = signal('');
  /** Whether the person is about to say another name. */
  readonly naming = signal(false);
  readonly unfolded = signal(false);
  readonly worklist = signal<Worklist | null>(null);
  /** Slices of the open series that two people labelled. */
  readonly readings = signal<ReadSlice[]>([]);

  /** Take a name and keep it in the browser; false where it is forgotten when the page is closed. */
  keepName(name: string): boolean {
    this.name.value = name.trim().slice(0, 80);
    try {
      localStorage.setItem(NAME, this.name.value);
    } catch {
      return false; // its store is full, or the browser has none
    }
    return true;
  }

  /** The series that is open, with its place in the worklist. */
  readonly of = (image: string | undefined): Series | null =>
    this.worklist.value?.studies.flatMap(study => study.series).find(one => one.image === image) ?? null;

  /** "2 of 9 series done". */
  readonly summary = computed(() => {
    const counts = this.worklist.value?.counts;
    if (!counts) return '';
    const all = Object.values(counts).reduce((sum, n) => sum + n, 0);
    return `${counts.done + counts.accepted} of ${all} series done`;
  });
}

/** Whether the name is to be asked for: the server does not know it, and the browser has none. */
export function asksName(state: State | null, name: string): boolean {
  return state?.ask_name === true && !name;
}
