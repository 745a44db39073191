/** What a person can do in the panel: what its buttons and keys start. */

import type { LabActs } from './acts/labwork';
import type { Shot } from './api';
import type { Look } from './model/look';
import type { Structure } from './model/structures';

export type Command =
  | 'submit'
  | 'theirs'
  | 'both'
  | 'segment'
  | 'train'
  | 'improve'
  | 'next'
  | 'skip'
  | 'back'
  | 'undo'
  | 'redo'
  | 'clear'
  | 'add'
  | 'right'
  | 'absent'
  | 'holes'
  | 'smooth'
  | 'islands'
  | 'copy'
  | 'interpolate'
  | 'in3D';

export type Tool = 'brush' | 'eraser' | 'threshold' | 'lasso' | 'include' | 'exclude' | 'scribble' | 'box';

export interface Acts {
  press(command: Command): void;
  /** Take a tool, or put it away if it is in hand. */
  pick(tool: Tool): void;
  choose(value: number): void;
  /** Radius of the brush, in mm. */
  size(radius: number): void;
  /** Change how structures look, and which are locked. */
  dress(changes: Partial<Look>): void;
  rename(structure: Structure, name: string): void;
  remove(structure: Structure): void;
  /** Unfold the history of the slice on the screen, or fold it. */
  trace(unfolded: boolean): void;
  readonly lab: LabActs;
  history(act: 'restore' | 'unlabel', shot: Shot): void;
}
