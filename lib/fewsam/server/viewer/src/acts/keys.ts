/** The panel's keys, wherever the mouse is; what is typed into a field is none. */

import type { Acts } from '../commands';
import { pressed } from '../model/keys';
import type { Structure } from '../model/structures';
import type { Store } from '../store';
import { typing } from '../viewer/typing';

const LARGER = 1.25; // a press, of the radius of the brush

export class Keys {
  constructor(
    private store: Store,
    private acts: Acts,
    private structures: () => Structure[],
    private onScreen: () => boolean,
  ) {
    window.addEventListener('keydown', this.press, true);
  }

  close(): void {
    window.removeEventListener('keydown', this.press, true);
  }

  private press = (event: KeyboardEvent): void => {
    const { sheet, tool, guide, radius } = this.store;
    if (sheet.value && event.key === 'Escape') {
      sheet.value = false;
      return this.taken(event);
    }
    if (typing(event.target)) return;
    const what = pressed(event, tool.value !== '' || this.onScreen());
    if (!what) return;
    this.taken(event);
    if ('sheet' in what) sheet.value = !sheet.value;
    else if ('size' in what) this.acts.size(what.size > 0 ? radius.value * LARGER : radius.value / LARGER);
    else if ('structure' in what) {
      const structure = this.structures()[what.structure - 1];
      if (structure) this.acts.choose(structure.value);
    } else {
      const [name, start] = 'tool' in what ? [what.tool, () => this.acts.pick(what.tool)] : [what.command, () => this.acts.press(what.command)];
      const why = guide.value.blocked[name];
      // Undo says itself that there is nothing; it looks first at what was drawn a moment ago.
      if (why && name !== 'undo' && name !== 'redo') this.store.say(why, '');
      else start();
    }
  };

  private taken(event: KeyboardEvent): void {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}
