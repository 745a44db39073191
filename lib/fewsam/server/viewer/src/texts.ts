/** Sentences of the panel, made from what the server answers. */

import * as api from './api';

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

/** Slices as a person counts them: "slice 9", "slices 3, 9 and 2 more". */
export function slicesOf(ks: number[]): string {
  const shown = ks.slice(0, 6).map(k => k + 1).join(', ');
  const more = ks.length > 6 ? ` and ${ks.length - 6} more` : '';
  return `slice${ks.length === 1 ? '' : 's'} ${shown}${more}`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function greeting(known: any, drafts: number, state: api.State): string {
  const parts: string[] = [];
  if (known.drawn.length) parts.push(`${count(known.drawn.length, 'slice')} of this series labelled.`);
  else parts.push('Draw a structure on two or three slices, then Submit.');
  if (known.served) parts.push('The last segmentation is shown.');
  if (drafts) parts.push(`${count(drafts, 'slice')} drawn and not submitted: put back.`);
  if (known.overlaps?.length) {
    parts.push(`Structures overlap on ${slicesOf(known.overlaps)}: the viewer shows the later one of the list there, and what you leave as it is keeps both.`);
  }
  if (state.encoder.trained === false) parts.push('The encoder is untrained: results rest on your labels alone.');
  return parts.join(' ');
}

export function receipt(answer: any): string {
  const changed = answer.added.length + answer.superseded.length + answer.cleared.length;
  const parts = [changed ? `${count(changed, 'slice')} submitted.` : 'Nothing new in this label: no slice changed.'];
  if (answer.replaced.length) {
    parts.push(`Yours is now the label of ${slicesOf(answer.replaced)}; the other one stays in the history.`);
  }
  if (answer.kept.length) parts.push(`${capital(slicesOf(answer.kept))} stays as it was submitted: yours was an older copy.`);
  if (answer.untouched.length) parts.push(`${count(answer.untouched.length, 'slice')} are the model's own and teach nothing.`);
  if (answer.overlaps.length) parts.push(`Structures that overlap on ${slicesOf(answer.overlaps)} were kept.`);
  if (answer.waiting_for_pacs) parts.push('The PACS is away: the label is kept and stored there when it is back.');
  return parts.join(' ');
}

/** What stands below the curve: what waits for the PACS, what could not be taken, what others drew. */
export function problems(state: api.State | null, foreign: number[], unkept: boolean): string[] {
  const found = (state?.problems ?? []).map(one => `${one.file}: ${one.problem}`);
  if (state?.pacs?.problem) found.unshift(state.pacs.problem);
  if (state?.pacs?.waiting) found.unshift(`${count(state.pacs.waiting, 'label')} kept here until the PACS takes them.`);
  if (foreign.length) {
    found.unshift(`${capital(slicesOf(foreign))}: submitted from elsewhere since you drew on it. Nothing is overwritten unasked.`);
  }
  if (unkept) found.unshift("The browser's store is full: what you draw would not survive a reload. Submit it.");
  return found;
}

export function progress(state: api.State | null, busy: string): string {
  const stats = state?.training;
  const parts: string[] = [];
  if (busy) parts.push(`${busy} …`);
  if (stats?.running) {
    const share = stats.total_epochs ? (stats.epoch ?? 0) / stats.total_epochs : 0;
    parts.push(stats.waiting_for ? `waiting for ${stats.waiting_for}` : `training: ${stats.state ?? ''} ${Math.round(100 * share)} %`);
  }
  if (!parts.length && state) {
    parts.push(state.trained ? `Model ${state.model_version} is live.` : 'No trained model yet: answers are untrained.');
  }
  return parts.join(' · ');
}
