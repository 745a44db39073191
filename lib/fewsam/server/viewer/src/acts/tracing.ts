/** The history of the slice on the screen: who labelled it when, as what; a former label put back, the present one taken back. */

import * as api from '../api';
import { capital, slicesOf } from '../model/texts';
import { type Desk, left, onScreen } from './desk';

export class Tracing {
  private seen = '';

  constructor(private desk: Desk) {}

  /** Look the slice on the screen up, if the history is unfolded and something changed. */
  async look(): Promise<void> {
    const map = this.desk.map;
    if (!map || !this.desk.store.tracing.value) return;
    const k = map.geometry.current();
    const now = `${map.series} ${k} ${map.session.slices.seen(k)} ${map.session.slices.undoSteps}`;
    if (now === this.seen) return;
    this.desk.store.history.value = await api.history(map.series, k);
    this.seen = now;
  }

  /** Show a former label as if it had been drawn: submitting it makes it the label, undo takes it away. */
  async restore(shot: api.Shot): Promise<void> {
    await this.desk.work('Fetching', async map => {
      const { head, voxels } = await api.shot(map.series, shot.shot);
      await map.released();
      if (left(this.desk, map)) return;
      map.commit();
      const here = map.session.structures.fromServer(voxels, head.structures);
      map.render(map.session.draw(new Map([[head.slice, here]])));
      this.desk.say(`${capital(slicesOf([head.slice]))} as ${shot.annotator || 'it'} had it. Submit makes it the label again.`, '');
    });
  }

  /** Take back what was said of the slice on the screen. */
  async unlabel(shot: api.Shot): Promise<void> {
    const of = onScreen(this.desk);
    if (!of) return;
    const k = of.geometry.current();
    await this.desk.work('Taking back', async map => {
      await api.unlabel(map.series, k, shot.shot);
      await this.desk.fetch();
      this.seen = '';
      this.desk.say(`${capital(slicesOf([k]))} has no label any more; the history keeps it, and Restore brings it back.`, 'good');
    }, of);
  }
}
