/** Segment the open series, train, and say what came of a training. */

import * as api from '../api';
import type { Head } from '../model/session';
import * as texts from '../model/texts';
import type { Desk } from './desk';

export class Learning {
  private wasTraining = false;
  private improvable = ''; // the series whose answer gets better once all its slices are encoded
  private trainedFrom = 0; // the model that was served when the training began

  constructor(private desk: Desk) {}

  async segment(): Promise<void> {
    await this.desk.work('Segmenting', async map => {
      map.commit();
      const { head, voxels } = await api.segment(map.series, map.geometry.current());
      if (!head.shots) return this.desk.say((head.notes ?? ['There is no label to learn from yet.']).join('\n'), 'bad');
      const before = this.desk.store.server.value?.image?.uncertainty.length;
      const changed = await this.desk.take(map, voxels, head as Head);
      if (!changed) return; // the series was left: the server has the answer when it is opened again
      this.desk.store.changed.value = before ? changed : []; // the first answer changes nothing
      this.improvable = head.unencoded?.length ? map.series : '';
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
      this.begun();
      this.desk.say('Training started.', '');
    });
  }

  /** Learn from images that nobody labelled, for when nobody waits. */
  async improve(): Promise<void> {
    await this.desk.work('Starting', async () => {
      this.trainedFrom = this.desk.store.server.value?.model_version ?? 0;
      await api.improve();
      this.begun();
      this.desk.say(texts.improving, '');
    });
  }

  /** A training is under way: an answer from before it would look like its end. */
  private begun(): void {
    this.desk.overtake();
    this.wasTraining = true;
  }

  /** Go on with what has changed at the server since the last look. */
  look(state: api.State): void {
    this.lookAtTraining(state);
    this.lookAtEncoding(state);
  }

  /** Ask again once all slices are encoded, unless something was drawn: then the person decides. */
  private lookAtEncoding({ image }: api.State): void {
    const { map, store } = this.desk;
    if (!this.improvable || store.busy.value || map?.drawing || !image?.encoded || image.id !== this.improvable) return;
    this.improvable = '';
    if (map?.series !== image.id) return;
    if (map.session.slices.dirty.length) this.desk.say(texts.encoded, '');
    else void this.segment();
  }

  /** Say what came of a training that ran at the last look and has ended. */
  private lookAtTraining(state: api.State): void {
    if (this.wasTraining && !state.training.running) {
      const { text, kind } = texts.trained(state, this.trainedFrom);
      this.desk.say(text, kind);
      this.desk.store.answered.value = false;
    }
    if (!this.wasTraining && state.training.running) this.trainedFrom = state.model_version; // begun elsewhere
    this.wasTraining = Boolean(state.training.running);
  }
}
