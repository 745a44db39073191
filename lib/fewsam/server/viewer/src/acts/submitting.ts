/** Submit what is drawn, and the questions of the server about it. */

import * as api from '../api';
import * as texts from '../model/texts';
import type { Labelmap } from '../viewer/labelmap';
import { type Desk, left } from './desk';

/** What the server asks before it takes a submission. */
interface Question {
  slices?: number[];
  submissions?: Record<string, number>;
  who?: string;
  empty?: number[];
}

export class Submitting {
  constructor(private desk: Desk) {}

  /** ``both``: what somebody else submitted meanwhile stays the label, with ours beside it. */
  async submit(empty: number[] = [], both = false, of = this.desk.map): Promise<void> {
    const { store } = this.desk;
    await this.desk.work('Submitting', async map => {
      map.commit();
      const submission = map.session.submission();
      if (!submission) return this.desk.say('Nothing to submit: no slice was changed by hand.', 'bad');
      let answer: any;
      try {
        answer = await api.submit(map.series, submission, { asked: this.open(submission.drawn), both, empty });
      } catch (error) {
        if (!(error instanceof api.Refusal) || error.status !== 409) throw error;
        if (!error.body.empty && !error.body.slices) throw error; // the series has changed: no answer would mend that
        // The answers are about slices of this series: they are not asked for over another one.
        if (this.desk.map !== map) return this.desk.say(texts.untaken(map.session.kept), 'bad');
        return this.asked(map, error.body, both, submission.drawn);
      }
      if (this.desk.map === map) store.conflict.value = {};
      store.answered.value = false;
      map.commit();
      map.session.submitted(submission, answer.submissions, [...answer.kept, ...answer.untouched, ...(answer.beside ?? [])]);
      this.desk.say(texts.receipt(answer), answer.kept.length ? '' : 'good');
    }, of);
  }

  /** Give way to what somebody else submitted of the slices in question; undo brings ours back. */
  async theirs(): Promise<void> {
    const { conflict } = this.desk.store;
    await this.desk.work('Fetching', async map => {
      const slices = Object.keys(conflict.value).map(Number).filter(k => map.session.slices.isDirty(k));
      if (!(await this.desk.fetch())) return;
      map.render(map.session.discard(slices));
      conflict.value = {};
      this.desk.say(`${texts.capital(texts.slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, '');
    });
  }

  /** The server asks before it takes a submission; ``both``: what the person has answered to a question before this one. */
  private asked(map: Labelmap, body: Question, both: boolean, drawn: Record<string, number>): void {
    if (body.empty?.length) {
      const empty = body.empty;
      const yes = { label: 'Nothing is there', act: () => void this.submit(empty, both, map) };
      const no = { label: 'Put the labels back', act: () => this.putBack(map, empty) };
      return this.desk.say(texts.emptied(empty), 'asks', [yes, no]);
    }
    const { conflict } = this.desk.store;
    conflict.value = { ...this.open(drawn), ...body.submissions };
    const slices = Object.keys(conflict.value).map(Number); // with those that were asked about before: the buttons are about all
    this.desk.say(texts.conflict(slices, slices.length === body.slices?.length ? (body.who ?? '') : ''), 'bad');
  }

  /** What the server has asked about, but for slices that are no longer drawn, or are drawn over that label by now. */
  private open(drawn: Record<string, number>): Record<string, number> {
    const asked = Object.entries(this.desk.store.conflict.value);
    return Object.fromEntries(asked.filter(([k, submission]) => k in drawn && drawn[k] !== submission));
  }

  private putBack(map: Labelmap, slices: number[]): void {
    if (left(this.desk, map)) return;
    map.render(map.session.discard(slices));
    this.desk.say(`${texts.capital(texts.slicesOf(slices))}: as submitted. Undo brings your change back.`, '');
    this.desk.show();
  }
}
