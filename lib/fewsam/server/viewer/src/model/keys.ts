/** The panel's keys. They come before those of the viewer, whose digits are ours only while the panel is on the screen.
 *
 * OHIF 3.12 has A (a new segment) and N (interpolated scrolling) too, and B, E, [ and ] for what they are here.
 */

import type { Command, Tool } from '../commands';

/** What a key starts. */
export type Pressed = { command: Command } | { tool: Tool } | { structure: number } | { size: 1 | -1 } | { sheet: true };

export interface Keys {
  key: string;
  ctrlKey?: boolean;
  metaKey?: boolean;
  altKey?: boolean;
  shiftKey?: boolean;
}

const TOOLS: Record<string, Tool> = { b: 'brush', e: 'eraser', t: 'threshold', p: 'lasso', a: 'include', x: 'exclude', w: 'scribble', q: 'box' };

const COMMANDS: Record<string, Command> = {
  s: 'submit',
  g: 'segment',
  m: 'train',
  n: 'next',
  k: 'skip',
  N: 'back',
  y: 'right',
  '0': 'absent',
  f: 'holes',
  o: 'smooth',
  u: 'islands',
  d: 'copy',
  j: 'interpolate',
};

/** What the sheet of keys says: groups of rows, keys and what they do. */
export const SHEET: { title: string; rows: [string, string][] }[] = [
  {
    title: 'Tools',
    rows: [
      ['B', 'brush'],
      ['E', 'eraser'],
      ['T', 'threshold brush'],
      ['P', 'lasso: drag, or click corners and close with Enter; Alt erases'],
      ['[ and ]', 'smaller and larger brush'],
      ['1 to 9', 'structure of the list; the window presets are in the menu of the viewport'],
      ['A and X', 'include and exclude points'],
      ['W and Q', 'scribble and box; with Alt they exclude'],
    ],
  },
  {
    title: 'The slice on the screen',
    rows: [
      ['F', 'fill the holes of the chosen structure'],
      ['O', 'smooth its outline'],
      ['U', 'remove its islands'],
      ['D', 'copy it from the slice before'],
      ['Y', 'this slice is right'],
      ['0', 'the structure is not on this slice'],
    ],
  },
  {
    title: 'The round',
    rows: [
      ['J', 'interpolate between drawn slices'],
      ['S', 'submit'],
      ['G', 'segment'],
      ['M', 'train, or stop training'],
      ['N, Shift+N', 'next slice, and back'],
      ['K', 'skip'],
      ['Ctrl+Z', 'undo'],
      ['Ctrl+Y, Ctrl+Shift+Z', 'redo'],
      ['?', 'this sheet'],
    ],
  },
];

/** What a key starts; null where it is none of ours.
 *
 * Args:
 *     digits: whether digits are ours: the panel is on the screen, or a tool of it in hand. Otherwise they choose the
 *         viewer's window and level.
 */
export function pressed({ key, ctrlKey, metaKey, altKey, shiftKey }: Keys, digits: boolean): Pressed | null {
  if (altKey) return null;
  const letter = key.length === 1 ? key.toLowerCase() : '';
  if (ctrlKey || metaKey) {
    if (letter === 'z') return { command: shiftKey ? 'redo' : 'undo' };
    return letter === 'y' && !shiftKey ? { command: 'redo' } : null;
  }
  if (key === '?') return { sheet: true };
  if (key === '[' || key === ']') return { size: key === ']' ? 1 : -1 };
  if (/^[1-9]$/.test(key)) return digits ? { structure: Number(key) } : null;
  if (shiftKey) return COMMANDS[letter.toUpperCase()] ? { command: COMMANDS[letter.toUpperCase()] } : null;
  if (TOOLS[letter]) return { tool: TOOLS[letter] };
  return COMMANDS[letter] ? { command: COMMANDS[letter] } : null;
}
