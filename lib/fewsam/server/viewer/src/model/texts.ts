/** Sentences of the panel, made from what the server answers. */

import type * as api from '../api';

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

/** What the viewer shows instead of slices: a stored segmentation, or a layout without them; '' while it shows slices. */
export type Aside = '' | 'stored' | 'layout';

export const ASIDE = {
  stored: 'This is a segmentation as it is stored; nothing can be drawn on it here. Yours is kept.',
  layout: 'No slices are shown in this layout, so nothing can be drawn. What you drew is kept.',
};

/** Why a tool cannot be taken, and a slice not be judged, meanwhile. */
export const BLOCKED = {
  stored: 'A stored segmentation is shown: go back to drawing first.',
  layout: 'No slices are shown in this layout: go back to drawing first.',
};

export const PLANES =
  'Nothing is drawn here: this view cuts through the slices. A label belongs to a whole slice: draw in the viewport that ' +
  'shows the slices as they were acquired.';

/** The number of slice k that the viewer shows in its corner ("I: 10"). */
export const numbering = { of: (k: number): number => k + 1 };

/** Slices as the viewer counts them: "slice 9", "slices 3, 9 and 2 more". */
export function slicesOf(ks: number[]): string {
  const numbers = ks.map(k => numbering.of(k)).sort((a, b) => a - b);
  const shown = numbers.slice(0, 6).join(', ');
  const more = ks.length > 6 ? ` and ${ks.length - 6} more` : '';
  return `slice${ks.length === 1 ? '' : 's'} ${shown}${more}`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const SHORT = 84; // characters: what three lines of the panel hold

/** A text in short, and the rest of it: cut at its first line, or at the last sentence that three lines hold. */
export function inShort(text: string): [string, string] {
  const [line, ...rest] = text.split('\n');
  if (line.length <= SHORT) return [line, rest.join('\n')];
  const ends = [...line.matchAll(/[.?] /g)].map(found => found.index + 1).filter(end => end <= SHORT);
  const end = ends.at(-1) ?? line.lastIndexOf(' ', SHORT);
  return [line.slice(0, end), [line.slice(end).trim(), ...rest].join('\n')];
}

export function greeting(known: any, drafts: { back: number; misfits: number }, state: api.State): string {
  const parts: string[] = [];
  const elsewhere = state.structures.some(one => one.slices);
  if (known.drawn.length) parts.push(`${count(known.drawn.length, 'slice')} of this series labelled.`);
  else if (!elsewhere) parts.push('Draw a structure on two or three slices, then Submit.');
  else if (!known.served) parts.push('Segment this series with what was learnt from the other ones, or draw on it.');
  if (known.served) parts.push('The last segmentation is shown.');
  if (drafts.back) parts.push(`${count(drafts.back, 'slice')} drawn and not submitted: put back.`);
  if (drafts.misfits) {
    const are = drafts.misfits === 1 ? 'is' : 'are';
    parts.push(`${count(drafts.misfits, 'slice')} that you drew before the series had other slices ${are} not put back; this browser keeps them.`);
  }
  if (known.overlaps?.length) {
    parts.push(`Structures overlap on ${slicesOf(known.overlaps)}: the viewer shows the later one of the list there, and what you leave as it is keeps both.`);
  }
  if (state.encoder.trained === false) parts.push('The encoder is untrained: results rest on your labels alone.');
  return parts.join(' ');
}

export function receipt(answer: any): string {
  const changed = answer.added.length + answer.superseded.length + answer.cleared.length;
  const parts: string[] = [];
  if (changed) parts.push(`${count(changed, 'slice')} submitted.`);
  else if (!answer.beside?.length) parts.push('Nothing new in this label: no slice changed.');
  if (answer.replaced.length) {
    parts.push(`Yours is now the label of ${slicesOf(answer.replaced)}; the other one stays in the history.`);
  }
  if (answer.beside?.length) parts.push(`Yours is kept beside the label of ${slicesOf(answer.beside)}, which stays in force.`);
  if (answer.kept.length) parts.push(`${capital(slicesOf(answer.kept))} stays as it was submitted: yours was an older copy.`);
  if (answer.untouched.length) parts.push(`On ${count(answer.untouched.length, 'slice')} the model's answer stays, and it does not learn from it.`);
  if (answer.overlaps.length) parts.push(`Structures that overlap on ${slicesOf(answer.overlaps)} were kept.`);
  if (answer.waiting_for_pacs) {
    const why = answer.pacs_reason ? ` (${answer.pacs_reason})` : '';
    parts.push(`The PACS is away or has not taken the label${why}: it is kept here and stored there as soon as the PACS takes it.`);
  }
  return parts.join(' ');
}

/** What stands below the curve: what waits for the PACS, what could not be taken, what others drew. */
export function problems(state: api.State | null, foreign: number[], unkept: boolean): string[] {
  const found = (state?.problems ?? []).map(one => `${one.file}: ${one.problem}`);
  found.push(...(state?.image?.notes ?? []));
  if (state?.pacs?.problem) found.unshift(state.pacs.problem);
  if (state?.pacs?.waiting) found.unshift(`${count(state.pacs.waiting, 'label')} kept here until the PACS takes them.`);
  if (foreign.length) {
    found.unshift(`${capital(slicesOf(foreign))}: submitted from elsewhere since you drew on it. Nothing is overwritten unasked.`);
  }
  if (unkept) found.unshift("The browser's store is full: what you draw would not survive a reload. Submit it.");
  return found;
}

export const opening = 'Another series is on the screen, and is being opened: nothing was done. Try again in a moment.';

export const left = 'You left the series meanwhile: what you asked for there was not done.';

export const unkept =
  "The browser's store is full, and leaving this page would lose what you drew. Submit it first, also on series that you left.";

/** The server has a question about a submission, and nobody is there any more to answer it; ``kept``: by the browser. */
export function untaken(kept: boolean): string {
  const drawn = kept
    ? 'What you drew there is kept in this browser: open the series again and submit it.'
    : "The browser's store is full: what you drew there since it last had room may be lost.";
  return `You left the series while it was submitted, and the server has a question about it first: nothing was taken. ${drawn}`;
}

/** Why the server asks before it takes a submission. */
export function conflict(slices: number[], who: string): string {
  return (
    `${capital(slicesOf(slices))}: submitted from elsewhere${who ? ` by ${who}` : ''} since you drew on it. Nothing of yours ` +
    "was sent, and it stays here. 'Submit mine' makes yours the label (the other one stays in the history); 'Take " +
    "theirs' shows the other one; 'Keep both' keeps yours beside it."
  );
}

export function emptied(slices: number[]): string {
  return `${capital(slicesOf(slices))} had a label and ${slices.length === 1 ? 'is' : 'are'} empty now. Say that nothing is there?`;
}

/** What Segment answered with; ``dirty`` slices were drawn and left as they are. */
export function answer(head: any, dirty: number): string {
  const kept = dirty ? ` ${count(dirty, 'slice')} drawn and not submitted: left as drawn.` : '';
  const model = head.trained ? `Model ${head.model_version}` : 'Untrained answer';
  return `${model}, from ${count(head.shots, 'labelled slice')}.${waiting(head)}${kept}\n${(head.notes ?? []).join('\n')}`.trim();
}

/** That an answer is not the last one yet; '' where all slices are encoded. */
function waiting(head: any): string {
  const left = head.unencoded?.length ?? 0;
  // In one line of `inShort` with what stands before it: folded, nobody would know why the answer changes later.
  return left ? ` ${count(left, 'slice')} improve${left === 1 ? 's once it is' : ' once they are'} encoded.` : '';
}

export const encoded = 'All slices of this series are encoded now. Segment again for a better answer; what you drew stays.';

export const improving =
  'The model now learns from the images that nobody labelled. It takes several minutes, stops when somebody asks for ' +
  'something, and changes nothing unless it helps on labelled slices held back.';

/** What came of a training that began when model ``from`` was served. */
export function trained({ training, model_version, trained }: api.State, from: number): { text: string; kind: '' | 'good' | 'bad' } {
  const notes = (training.notes ?? []).map(note => `\n${note}`).join('');
  if (training.state === 'stopped') {
    const what = training.kind === 'unlabelled' ? 'Learning from unlabelled images' : 'Training';
    return { text: `${what} stopped; it goes on when you start it again.`, kind: '' };
  }
  if (training.state === 'failed') return { text: `Training failed: ${training.error}`, kind: 'bad' };
  const details = `\n${[compared(training), spent(training)].filter(Boolean).join(' ')}${notes}`.trimEnd();
  if (model_version > from) return { text: `Model ${model_version} is live. Segment again to use it.${details}`, kind: 'good' };
  const served = trained ? `model ${model_version}` : 'the untrained answer';
  return { text: `The trained model was not better than what is served; ${served} stays.${details}`, kind: '' };
}

/** What a training changed, in numbers of the slices held back from it; '' where nothing was held back. */
function compared({ measured_on, best_metric, previous_metric }: api.State['training']): string {
  const held = measured_on?.length ?? 0;
  if (!held || best_metric === undefined) return '';
  const before = typeof previous_metric === 'number' ? `, ${previous_metric.toFixed(2)} before` : '';
  return `On ${count(held, 'slice')} held back its Dice is ${best_metric.toFixed(2)}${before}.`;
}

/** How long a training was, and whether it ended before it had learnt what it could. */
function spent({ steps, seconds, limits, kind }: api.State['training']): string {
  if (!steps || kind === 'unlabelled') return '';
  const time = seconds ? ` in ${Math.round(seconds)} s` : '';
  const early = limits && seconds && steps < limits.steps && seconds >= 0.9 * limits.train_seconds;
  if (early) return `It stopped early, after ${steps} of ${limits.steps} steps${time}: this machine is slow.`;
  return `It took ${count(steps, 'step')}${time}.`;
}

/** The one thing to do next, and why others cannot be done now: by button. */
export function guide(now: {
  open: boolean;
  busy: string;
  structures: number;
  dirty: number;
  labelled: number;
  answered: boolean; // an answer of the model that knows all labels is shown
  training: boolean;
}): { highlight: string; hint: string; blocked: Record<string, string> } {
  const blocked: Record<string, string> = {};
  const all = ['submit', 'theirs', 'both', 'segment', 'train', 'next', 'skip'];
  const block = (why: string, names: string[]): void => names.forEach(name => (blocked[name] ??= why));
  if (!now.open) block('Open an image series first.', [...all, 'back', 'right']);
  if (now.busy) block(`${now.busy} …`, all.filter(name => name !== 'train' || !now.training));
  if (!now.dirty) block('Nothing is drawn that was not submitted.', ['submit']);
  if (!now.labelled) block('Submit a label of at least one slice first.', ['segment', 'train']);
  const steps: [boolean, string, string][] = [
    [!now.structures, 'add', 'Name a structure'],
    [!now.labelled && !now.dirty, 'brush', 'Draw on 2 or 3 slices'],
    [now.dirty > 0, 'submit', `Submit ${count(now.dirty, 'slice')}`],
    [!now.answered, 'segment', 'Segment'],
    [true, 'next', 'another slice, or correct it'],
  ];
  const [, highlight, hint] = steps.find(([wanted]) => wanted)!;
  return now.open ? { highlight, hint, blocked } : { highlight: '', hint: '', blocked };
}

/** How much of a training that runs is done, from 0 to 1, by whichever of its limits is nearer; undefined before its first step. */
export function done({ step, seconds, limits, epoch, total_epochs }: api.State['training']): number | undefined {
  if (step && limits) return Math.min(1, Math.max(step / limits.steps, (seconds ?? 0) / limits.train_seconds));
  return total_epochs ? (epoch ?? 0) / total_epochs : undefined;
}

export function progress(state: api.State | null, busy: string): string {
  const stats = state?.training;
  const parts: string[] = [];
  if (busy) parts.push(`${busy} …`);
  if (stats?.running) {
    const steps = stats.step ? `, step ${stats.step}${stats.limits ? ` of ${stats.limits.steps}` : ''}` : '';
    const seconds = stats.seconds ? `, ${Math.round(stats.seconds)} s` : '';
    parts.push(stats.waiting_for ? `waiting for ${stats.waiting_for}` : `training${steps}${seconds}`);
  }
  const encoding = parts.length ? '' : encodingOf(state);
  if (encoding) parts.push(encoding);
  else if (!parts.length && state) {
    parts.push(state.trained ? `Model ${state.model_version} is live.` : 'Not trained yet.');
  }
  return parts.join(' · ');
}

/** What the encoder still has to do before it is through with the open series; '' where it is or does nothing. */
function encodingOf(state: api.State | null): string {
  const { image, encoding } = state ?? {};
  if (!image || image.encoded || encoding?.state !== 'encoding' || encoding.error) return '';
  const { views, slices_done = 0, slices_total = 0 } = encoding;
  const here = encoding.image === image.id ? slices_total - slices_done : image.slices;
  const left = here + (views ? views.total - views.done : 0); // one number that falls: views come before slices
  return left ? `Encoding: ${left} left` : '';
}
