/** What a person can do in the panel: what its buttons and keys start. */

import type { LabActs } from './acts/labwork';
import type { Shot } from './api';
import type { Structure } from './model/structures';

export type Command = 'submit' | 'theirs' | 'both' | 'segment' | 'train' | 'improve' | 'next' | 'skip' | 'back' | 'undo' | 'redo' | 'clear' | 'add';

export type Tool = 'brush' | 'eraser' | 'threshold' | 'include' | 'exclude';

export interface Acts {
  press(command: Command): void;
  /** Take a tool, or put it away if it is in hand. */
  pick(tool: Tool): void;
  choose(value: number): void;
  /** Radius of the brush, in mm. */
  size(radius: number): void;
  rename(structure: Structure, name: string): void;
  remove(structure: Structure): void;
  /** Unfold the history of the slice on the screen, or fold it. */
  trace(unfolded: boolean): void;
  readonly lab: LabActs;
  history(act: 'restore' | 'unlabel', shot: Shot): void;
}
