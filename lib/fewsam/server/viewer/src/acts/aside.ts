/** While the viewer shows something else than the slices as they were acquired, nothing is drawn: it is said, and how to go on. */

import type { Aside } from '../model/texts';
import * as texts from '../model/texts';
import { active, showSeries, shownAt, storedSegmentation } from '../viewer/grid';
import { host } from '../viewer/ohif';
import { Layout } from '../viewer/layout';
import type { Labelmap } from '../viewer/labelmap';
import { drawsIn } from '../viewer/tools';
import type { Desk } from './desk';

const PRESSES = ['pointerdown', 'mousedown', 'touchstart'] as const;

export class Asides {
  private layout = new Layout();
  private returning = false; // the labelmap is put back into the viewport

  constructor(private desk: Desk) {
    PRESSES.forEach(name => window.addEventListener(name, this.guard, true));
  }

  close(): void {
    PRESSES.forEach(name => window.removeEventListener(name, this.guard, true));
  }

  /** The structures in 3D, in the viewer's own viewport. */
  in3D(): void {
    this.desk.store.tool.value = '';
    this.layout.in3D();
  }

  /** Whether nothing can be drawn at the moment. */
  look(map: Labelmap): boolean {
    const { store } = this.desk;
    const now = whatIsShown(map);
    if (now !== store.aside.value) this.turn(map, now);
    if (now === '') this.layout.remember();
    else this.layout.bare();
    return now !== '' || this.returning;
  }

  private turn(map: Labelmap, now: Aside): void {
    const { store } = this.desk;
    store.aside.value = now;
    if (now === '') void this.back(map);
    else {
      const stored = storedSegmentation();
      store.tool.value = '';
      const act = (): void => (stored ? showSeries(stored.viewportId, map.displaySetId) : this.layout.back());
      this.desk.say(texts.ASIDE[now], 'asks', [{ label: 'Back to drawing', act }]);
    }
    this.desk.show();
  }

  /** A view in 3D leaves surfaces in the viewport, where drawing needs the labelmap. */
  private async back(map: Labelmap): Promise<void> {
    this.returning = true;
    try {
      if (!map.intact) await map.recover();
      if (!map.isActive) map.activate(); // the one that was stored was active
      this.desk.say('Drawing goes on in the structures listed here.', '');
    } catch (error) {
      this.desk.say(`The viewer does not show the labelmap again: reload the page; what you drew is kept. (${(error as Error).message})`, 'bad');
    } finally {
      this.returning = false;
    }
  }

  /**
   * A stroke on a plane would change a line of many slices, and each would count as drawn. A press on a viewport that is
   * not active makes it active, and draws nothing.
   */
  private guard = (event: Event): void => {
    if ((event as MouseEvent).button) return; // the left one, or a finger
    const there = shownAt(event.target);
    if (there?.view !== 'planes' || !(this.desk.store.tool.value || drawsIn(there.viewportId))) return;
    if (event.type === 'pointerdown') return this.desk.say(texts.PLANES, 'bad');
    if (there.viewportId !== host.services.viewportGridService.getState().activeViewportId) return;
    event.stopImmediatePropagation();
    event.preventDefault();
  };
}

function whatIsShown(map: Labelmap): Aside {
  if (storedSegmentation()) return 'stored';
  const now = active();
  return now && now.view !== 'slices' && now.displaySet.SeriesInstanceUID === map.series ? 'layout' : '';
}
