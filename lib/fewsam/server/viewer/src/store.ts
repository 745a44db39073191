/** All that the panel shows, in one place: components read these signals, acts change them. Knows neither DOM nor viewer. */

import { computed, signal } from '@preact/signals';
import type { Shot, State } from './api';
import { LOOK, type Look } from './model/look';
import type { Structure } from './model/structures';
import * as texts from './model/texts';

export type Kind = '' | 'good' | 'bad' | 'asks';

/** An answer to a question of the panel: a button. */
export interface Answer {
  label: string;
  act: () => void;
}

export interface Message {
  text: string;
  kind: Kind;
  answers: Answer[];
  serial: number; // what is said again is a new message
}

/** The open series: what is drawn on it here. */
export interface Open {
  series: string;
  slice: number; // k of the slice on the screen
  sliceIs: '' | 'labelled' | 'drawn' | 'confirmed';
  undoSteps: number;
  redoSteps: number;
  dirty: number[]; // slices drawn and not submitted
  foreign: number[]; // of these, those that somebody else submitted meanwhile
  kept: boolean; // the browser keeps what is drawn
}

const TOOLS = ['brush', 'eraser', 'threshold', 'lasso', 'include', 'exclude', 'scribble', 'box'];
const ON_A_SLICE = ['right', 'next', 'skip', 'back'];
const EDITS = ['holes', 'smooth', 'islands', 'copy', 'interpolate', 'absent'];

export class Store {
  /** What the server said last. */
  readonly server = signal<State | null>(null);
  readonly message = signal<Message>({ text: '', kind: '', answers: [], serial: 0 });
  /** What is being done at the moment: "Submitting". */
  readonly busy = signal('');
  /** null while no series is open. */
  readonly open = signal<Open | null>(null);
  readonly structures = signal<Structure[]>([]);
  /** Voxel value of the chosen structure. */
  readonly chosen = signal(1);
  /** A tool of the panel, or '' for one of the viewer's own. */
  readonly tool = signal('');
  readonly radius = signal(8);
  /** Whether what prompts change is propagated to neighbouring slices. */
  readonly propagate = signal(false);
  /** How structures look, and which are locked. */
  readonly look = signal<Look>(LOOK);
  /** Whether the sheet of keys is shown. */
  readonly sheet = signal(false);
  /** Slices that the last Segment changed. */
  readonly changed = signal<number[]>([]);
  /** The name of a new structure, as it is typed. */
  readonly typed = signal('');
  /** Slice -> the submission that the server asked about, since it came from elsewhere meanwhile. */
  readonly conflict = signal<Record<string, number>>({});
  /** Whether an answer of the model that knows all labels is shown. */
  readonly answered = signal(false);
  /** What the viewer shows instead of slices. */
  readonly aside = signal<texts.Aside>('');
  /** Whether there is a place to go back to. */
  readonly back = signal(false);
  /** Whether the history of the slice on the screen is unfolded, and what it holds, newest first. */
  readonly tracing = signal(false);
  readonly history = signal<Shot[]>([]);

  /** Whether the server asked about a slice that is still drawn. */
  readonly asked = computed(() => (this.open.value?.dirty ?? []).some(k => k in this.conflict.value));

  readonly training = computed(() => Boolean(this.server.value?.training.running));

  readonly labelled = computed(() => (this.server.value?.structures ?? []).some(one => one.slices > 0));

  /** The one thing to do next, and why others cannot be done now. */
  readonly guide = computed(() => {
    const open = this.open.value;
    const guide = texts.guide({
      open: Boolean(open),
      busy: this.busy.value,
      structures: this.structures.value.length,
      dirty: open?.dirty.length ?? 0,
      labelled: this.labelled.value ? 1 : 0,
      answered: this.answered.value,
      training: this.training.value,
    });
    const { blocked } = guide;
    if (!open?.undoSteps) blocked.undo = 'Nothing to undo.';
    if (!open?.redoSteps) blocked.redo = 'Nothing to redo.';
    if (this.training.value) blocked.improve = 'A training runs already.';
    else if (!this.server.value?.trained) blocked.improve = 'Train once first.';
    const right = unconfirmable(open, this.labelled.value);
    if (right) blocked.right ??= right;
    const uneditable = this.uneditable();
    if (uneditable) for (const edit of EDITS) blocked[edit] ??= uneditable;
    if (!this.back.value) blocked.back ??= 'Next slice has led nowhere yet.';
    if (!open) blocked.in3D = 'Open an image series first.';
    const aside = this.aside.value;
    if (aside) for (const one of [...TOOLS, ...ON_A_SLICE]) blocked[one] = texts.BLOCKED[aside];
    return guide;
  });

  readonly problems = computed(() => {
    const open = this.open.value;
    return texts.problems(this.server.value, open?.foreign ?? [], open?.kept === false);
  });

  /** Why the chosen structure cannot be edited; '' where it can. */
  private uneditable(): string {
    const chosen = this.structures.value.find(one => one.value === this.chosen.value);
    if (!this.open.value) return 'Open an image series first.';
    if (!chosen) return 'Choose a structure first.';
    if (this.aside.value) return texts.BLOCKED[this.aside.value];
    return this.look.value.locked.includes(chosen.value) ? `${chosen.name} is locked.` : '';
  }

  say(text: string, kind: Kind, answers: Answer[] = []): void {
    const serial = this.message.value.serial + 1;
    this.message.value = { text, kind: answers.length ? 'asks' : kind, answers, serial };
  }
}

/** Why the slice on the screen cannot be said to be right; '' where it can. */
function unconfirmable(open: Open | null, labelled: boolean): string {
  if (!labelled) return 'Submit a label of at least one slice first: there is nothing to confirm yet.';
  if (open?.sliceIs === 'labelled') return 'This slice is labelled as it is.';
  if (open?.sliceIs === 'drawn') return 'This slice is drawn by hand: Submit makes it a label.';
  return open?.sliceIs === 'confirmed' ? 'It is said already: Submit makes it a label.' : '';
}
