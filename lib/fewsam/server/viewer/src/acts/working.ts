/** One thing at a time: what asks the server is begun when nothing else is being done. */

import type { Labelmap } from '../viewer/labelmap';
import { type Desk, left } from './desk';

export class Working {
  constructor(private desk: Desk) {}

  async work(what: string, todo: (map: Labelmap) => Promise<void>, of: Labelmap | null): Promise<void> {
    const { busy } = this.desk.store;
    while (busy.value && what === 'Correcting') await new Promise(done => window.setTimeout(done, 50));
    if (busy.value) return;
    if (!of) return this.desk.say('Open a CT, MR or other image series first.', 'bad');
    busy.value = what;
    try {
      await of.released();
      if (left(this.desk, of)) return;
      await todo(of);
      await this.desk.refresh();
    } catch (error) {
      this.desk.say((error as Error).message, 'bad');
    } finally {
      busy.value = '';
      this.desk.show();
    }
  }
}
