/** The history of the slice on the screen: who labelled it when, as what; a former label put back, the present one taken back. */

import * as api from './api';
import { Labelmap } from './labelmap';
import { capital, slicesOf } from './texts';
import { Kind, View } from './view';

interface Owner {
  map: Labelmap | null;
  view: View;
  work: (what: string, todo: (map: Labelmap) => Promise<void>) => Promise<void>;
  say: (text: string, kind: Kind) => void;
  show: () => void;
  fetch: () => Promise<boolean>;
}

export class Tracing {
  /** Of the slice on the screen, newest first; empty while the history is folded. */
  shots: api.Shot[] = [];
  private seen = '';

  constructor(private panel: Owner) {}

  /** Look the slice on the screen up, if the history is unfolded and something changed. */
  async look(): Promise<void> {
    const map = this.panel.map;
    if (!map || !this.panel.view.tracing) return;
    const k = map.geometry.current();
    const now = `${map.series} ${k} ${map.session.slices.seen(k)} ${map.session.slices.undoSteps}`;
    if (now === this.seen) return;
    this.shots = await api.history(map.series, k);
    this.seen = now;
    this.panel.show();
  }

  /** Show a former label as if it had been drawn: submitting it makes it the label, undo takes it away. */
  async restore(shot: api.Shot): Promise<void> {
    await this.panel.work('Fetching', async map => {
      const { head, voxels } = await api.shot(map.series, shot.shot);
      map.commit();
      const here = map.session.structures.fromServer(voxels, head.structures);
      map.render(map.session.draw(new Map([[head.slice, here]])));
      this.panel.say(`${capital(slicesOf([head.slice]))} as ${shot.annotator || 'it'} had it. Submit makes it the label again.`, '');
    });
  }

  /** Take back what was said of the slice on the screen. */
  async unlabel(shot: api.Shot): Promise<void> {
    await this.panel.work('Taking back', async map => {
      const k = map.geometry.current();
      await api.unlabel(map.series, k, shot.shot);
      await this.panel.fetch();
      this.seen = '';
      this.panel.say(`${capital(slicesOf([k]))} has no label any more; the history keeps it, and Restore brings it back.`, 'good');
    });
  }
}
