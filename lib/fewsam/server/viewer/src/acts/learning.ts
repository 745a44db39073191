/** Segment the open series, train, and say what came of a training. */

import * as api from '../api';
import type { Head } from '../model/session';
import * as texts from '../model/texts';
import type { Desk } from './desk';

export class Learning {
  private wasTraining = false;
  private trainedFrom = 0; // the model that was served when the training began

  constructor(private desk: Desk) {}

  async segment(): Promise<void> {
    await this.desk.work('Segmenting', async map => {
      map.commit();
      const { head, voxels } = await api.segment(map.series);
      if (!head.shots) return this.desk.say((head.notes ?? ['There is no label to learn from yet.']).join('\n'), 'bad');
      const before = this.desk.store.server.value?.image?.uncertainty.length;
      const changed = (await this.desk.take(map, voxels, head as Head)) ?? [];
      this.desk.store.changed.value = before ? changed : []; // the first answer changes nothing
      map.session.points = [];
      this.desk.store.answered.value = true;
      this.desk.say(texts.answer(head, map.session.slices.dirty.length), head.trained ? 'good' : '');
    });
  }

  /** Start a training, or stop the one that runs. */
  async train(): Promise<void> {
    const { store } = this.desk;
    if (store.training.value) return this.desk.work('Stopping', () => api.stopTraining());
    await this.desk.work('Starting', async () => {
      this.trainedFrom = store.server.value?.model_version ?? 0;
      await api.train();
      this.wasTraining = true;
      this.desk.say('Training started.', '');
    });
  }

  /** Learn from images that nobody labelled, for when nobody waits. */
  async improve(): Promise<void> {
    await this.desk.work('Starting', async () => {
      this.trainedFrom = this.desk.store.server.value?.model_version ?? 0;
      await api.improve();
      this.wasTraining = true;
      this.desk.say(texts.improving, '');
    });
  }

  /** Say what came of a training that ran at the last look and has ended. */
  look(state: api.State): void {
    if (this.wasTraining && !state.training.running) {
      const { text, kind } = texts.trained(state, this.trainedFrom);
      this.desk.say(text, kind);
      this.desk.store.answered.value = false;
    }
    this.wasTraining = Boolean(state.training.running);
  }
}
