/** Follow what the person does with the viewer's own buttons, and mend what that took away. */

import { active } from '../viewer/grid';
import type { Labelmap } from '../viewer/labelmap';
import type { Toolbox } from '../viewer/tools';
import type { Asides } from './aside';
import type { Desk } from './desk';

const FOLLOW = 400; // ms between two looks at what the viewer has in hand

export class Watching {
  private recovering = false;
  private timer: number;

  constructor(
    private desk: Desk,
    private toolbox: Toolbox,
    private asides: Asides,
  ) {
    this.timer = window.setInterval(() => this.look(), FOLLOW);
  }

  close(): void {
    window.clearInterval(this.timer);
  }

  private look(): void {
    const { map, store, structures } = this.desk;
    if (!map || this.recovering) return;
    if (this.asides.look(map)) return;
    if (!map.intact) return void this.recover(map);
    if (!map.isActive) {
      map.activate();
      this.desk.say('Another segmentation was opened. What you draw goes on in the structures listed here.', '');
    }
    if (!map.whole) {
      map.segments(); // before the viewer gives the number of one that its own list deleted to a new segment
      this.desk.choose(store.chosen.value);
    }
    const strangers = map.strangers();
    for (const { value, label } of strangers) structures.addUnnamed(label, value);
    if (strangers.length) {
      this.desk.say(`${strangers[0].label} has no name yet. Name it in the list of structures; then it can be submitted.`, 'bad');
    }
    const chosen = map.chosen;
    if (chosen !== null && structures.of(chosen)) store.chosen.value = chosen;
    this.toolbox.follow(map.viewportId);
    this.desk.show();
  }

  private async recover(map: Labelmap): Promise<void> {
    if (active()?.displaySet.SeriesInstanceUID !== map.series) return; // another series is being opened
    this.recovering = true;
    try {
      await map.recover();
      this.desk.choose(this.desk.store.chosen.value);
      this.desk.say('The viewer took the labelmap away; it is back, with what you drew.', 'bad');
    } catch (error) {
      this.desk.say(`The viewer took the labelmap away: reload the page; what you drew is kept. (${(error as Error).message})`, 'bad');
    } finally {
      this.recovering = false;
    }
  }
}
