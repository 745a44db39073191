/** How structures look in this browser, and which are locked: kept in the browser, by the identity of the structure. */

import type { Store as Kept } from './drafts';
import type { Colour, Structure } from './structures';

export interface Look {
  /** Of the filled area, 0 to 1. */
  opacity: number;
  /** Width of the outline in pixels of the screen; 0 for none. */
  outline: number;
  /** Voxel values. */
  hidden: number[];
  locked: number[];
  /** Other colours than the server's, by identity. */
  colours: Record<string, Colour>;
}

export const LOOK: Look = { opacity: 0.4, outline: 2, hidden: [], locked: [], colours: {} };

const NAME = 'fewsam.look';

/** As it was kept; a structure is shown and unlocked when a page opens. */
export function kept(store: Pick<Kept, 'getItem'>): Look {
  try {
    const { opacity, outline, colours } = JSON.parse(store.getItem(NAME) ?? '{}') as Partial<Look>;
    return { ...LOOK, opacity: opacity ?? LOOK.opacity, outline: outline ?? LOOK.outline, colours: colours ?? {} };
  } catch {
    return LOOK;
  }
}

export function keep(store: Pick<Kept, 'setItem'>, { opacity, outline, colours }: Look): void {
  try {
    store.setItem(NAME, JSON.stringify({ opacity, outline, colours }));
  } catch {
    /* a full store loses no drawing by this */
  }
}

export function colourOf(look: Look, one: Pick<Structure, 'id' | 'color'>): Colour {
  return look.colours[one.id] ?? one.color;
}

export function toggled(values: number[], value: number): number[] {
  return values.includes(value) ? values.filter(one => one !== value) : [...values, value];
}

export const hex = (colour: Colour): string => `#${colour.map(part => part.toString(16).padStart(2, '0')).join('')}`;

export function unhex(text: string): Colour {
  const number = Number.parseInt(text.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}
