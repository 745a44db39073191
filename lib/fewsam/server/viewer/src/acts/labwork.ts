/** Marks of the worklist, the person's name, and the way to another series. */

import * as api from '../api';
import type { Lab, Series, Study } from '../lab';
import type { Desk } from './desk';

/** What the worklist's buttons start. */
export interface LabActs {
  name(): void;
  unfold(unfolded: boolean): void;
  mark(series: Series, state: 'done' | 'unsure' | 'open'): void;
  review(series: Series, state: 'accepted' | 'sent back'): void;
  visit(study: Study, series: Series): void;
}

const SAID: Record<string, string> = {
  done: 'This series is done. The worklist leads to the next one.',
  unsure: 'This series is marked as unsure.',
  open: 'This series is open again.',
  accepted: 'Accepted.',
  'sent back': 'Sent back, with your note.',
};

export class Labwork implements LabActs {
  constructor(
    private desk: Desk,
    private lab: Lab,
    private go: (study: string, series: string) => void,
  ) {}

  name(): void {
    const { lab } = this;
    if (!lab.typed.value.trim()) return;
    lab.keepName(lab.typed.value);
    lab.naming.value = false;
    this.desk.say(`Your labels bear the name ${lab.name.value} from now on.`, 'good');
  }

  unfold(unfolded: boolean): void {
    this.lab.unfolded.value = unfolded;
    void this.look();
  }

  mark(series: Series, state: 'done' | 'unsure' | 'open'): void {
    void this.said(() => api.mark(series.image, state, '', series.mark), state);
  }

  review(series: Series, state: 'accepted' | 'sent back'): void {
    const note = this.lab.note.value.trim();
    if (state === 'sent back' && !note) return this.desk.say('Say in a few words what is to be mended, then send it back.', 'bad');
    void this.said(() => api.review(series.image, state, note, series.mark), state);
  }

  visit(study: Study, series: Series): void {
    this.go(study.study, series.image);
  }

  /** Ask for the worklist, where somebody looks at it. */
  async look(): Promise<void> {
    if (this.lab.unfolded.value) this.lab.worklist.value = await api.worklist();
  }

  private async said(ask: () => Promise<void>, state: string): Promise<void> {
    const dirty = this.desk.store.open.value?.dirty.length ?? 0;
    if (state === 'done' && dirty) return this.desk.say('Slices are drawn and not submitted. Submit them first, or undo them.', 'bad');
    try {
      await ask();
      this.lab.note.value = '';
      this.desk.say(SAID[state], 'good');
    } catch (error) {
      this.desk.say((error as Error).message, 'bad');
    }
    await this.look().catch(error => this.desk.say((error as Error).message, 'bad'));
  }
}
