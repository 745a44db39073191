/** Submit what is drawn, and the questions of the server about it. */

import * as api from '../api';
import * as texts from '../model/texts';
import type { Labelmap } from '../viewer/labelmap';
import { type Desk, left } from './desk';

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
        answer = await api.submit(map.series, submission, { ...(both ? { replace: [], beside: store.conflict.value } : { replace: store.conflict.value }), empty });
      } catch (error) {
        if (!(error instanceof api.Refusal) || error.status !== 409) throw error;
        // The answers are about slices of this series: they are not asked for over another one.
        if (this.desk.map !== map) return this.desk.say(texts.untaken(map.session.kept), 'bad');
        return this.asked(map, error.body, both);
      }
      if (this.desk.map === map) store.conflict.value = [];
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
      const slices = conflict.value;
      if (!(await this.desk.fetch())) return;
      map.render(map.session.discard(slices));
      conflict.value = [];
      this.desk.say(`${texts.capital(texts.slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, '');
    });
  }

  /** The server asks before it takes a submission; ``both``: what the person has answered to a question before this one. */
  private asked(map: Labelmap, body: { slices?: number[]; who?: string; empty?: number[] }, both: boolean): void {
    if (body.empty?.length) {
      const empty = body.empty;
      const yes = { label: 'Nothing is there', act: () => void this.submit(empty, both, map) };
      const no = { label: 'Put the labels back', act: () => this.putBack(map, empty) };
      return this.desk.say(texts.emptied(empty), 'asks', [yes, no]);
    }
    const slices = body.slices ?? [];
    this.desk.store.conflict.value = slices;
    this.desk.say(texts.conflict(slices, body.who ?? ''), 'bad');
  }

  private putBack(map: Labelmap, slices: number[]): void {
    if (left(this.desk, map)) return;
    map.render(map.session.discard(slices));
    this.desk.say(`${texts.capital(texts.slicesOf(slices))}: as submitted. Undo brings your change back.`, '');
    this.desk.show();
  }
}
