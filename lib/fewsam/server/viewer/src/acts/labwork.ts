/** Marks of the worklist, the person's name, and the way to another series. */

import * as api from '../api';
import type { Lab, ReadSlice, Reading, Series, Study } from '../lab';
import { capital, slicesOf } from '../model/texts';
import { type Desk, left } from './desk';

/** What the worklist's buttons start. */
export interface LabActs {
  name(): void;
  unfold(unfolded: boolean): void;
  mark(series: Series, state: 'done' | 'unsure' | 'open'): void;
  review(series: Series, state: 'accepted' | 'sent back'): void;
  visit(study: Study, series: Series): void;
  /** Show a second reading as if it had been drawn: undo takes it away. */
  show(slice: ReadSlice, reading: Reading): void;
  /** Make a second reading the label of its slice. */
  adopt(slice: ReadSlice, reading: Reading): void;
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
    const kept = lab.keepName(lab.typed.value);
    lab.naming.value = false;
    const until = kept ? 'from now on' : 'until the page is closed: the store of the browser is full';
    this.desk.say(`Your labels bear the name ${lab.name.value} ${until}.`, kept ? 'good' : 'bad');
  }

  unfold(unfolded: boolean): void {
    this.lab.unfolded.value = unfolded;
    void this.look();
  }

  mark(series: Series, state: 'done' | 'unsure' | 'open'): void {
    void this.say(series, state, '', api.mark);
  }

  review(series: Series, state: 'accepted' | 'sent back'): void {
    const note = this.lab.note.value.trim();
    if (state === 'sent back' && !note) return this.desk.say('Say in a few words what is to be mended, then send it back.', 'bad');
    void this.say(series, state, note, api.review);
  }

  visit(study: Study, series: Series): void {
    this.go(study.study, series.image);
  }

  show({ slice }: ReadSlice, { reading, annotator }: Reading): void {
    void this.desk.work('Fetching', async map => {
      const { head, voxels } = await api.reading(map.series, reading);
      await map.released();
      if (left(this.desk, map)) return;
      map.commit();
      map.geometry.jump(slice);
      map.render(map.session.draw(new Map([[slice, map.session.structures.fromServer(voxels, head.structures)]])));
      this.desk.say(`${capital(slicesOf([slice]))} as ${annotator || 'the second reader'} drew it. Undo takes it away.`, '');
    });
  }

  adopt({ slice, in_force }: ReadSlice, { reading, annotator }: Reading): void {
    void this.desk.work('Reviewing', async map => {
      await api.adopt(map.series, reading, in_force?.submission ?? 0);
      // Where it was shown as a drawing; a series that was left meanwhile is shown as it is when it is opened again.
      if (this.desk.map === map && (await this.desk.fetch())) map.render(map.session.discard([slice]));
      const former = in_force?.annotator ? `; that of ${in_force.annotator} stays in its history` : '';
      this.desk.say(`${capital(slicesOf([slice]))} has the label of ${annotator || 'the second reader'} now${former}.`, 'good');
    });
  }

  /** Ask for the worklist, where somebody looks at it. */
  async look(): Promise<void> {
    const { lab } = this;
    const series = this.desk.map?.series;
    if (!lab.unfolded.value) return;
    const [list, found] = await Promise.all([api.worklist(), series ? api.readings(series) : []]);
    lab.worklist.value = list;
    lab.readings.value = series === this.desk.map?.series ? found : [];
  }

  /** Whoever says that all is right says it of the labels that are shown here: of others the server refuses it. */
  private async say({ image, mark }: Series, state: string, note: string, tell: typeof api.mark): Promise<void> {
    const dirty = this.desk.store.open.value?.dirty.length ?? 0;
    const right = state === 'done' || state === 'accepted';
    if (right && dirty) return this.desk.say('Slices are drawn and not submitted. Submit them first, or undo them.', 'bad');
    const labels = right && this.desk.map?.series === image ? this.desk.map.session.slices.submissions : undefined;
    try {
      await tell({ image, state, note, seen: mark, labels });
      this.lab.note.value = '';
      this.desk.say(SAID[state], 'good');
    } catch (error) {
      this.desk.say((error as Error).message, 'bad');
    }
    await this.look().catch(error => this.desk.say((error as Error).message, 'bad'));
  }
}
