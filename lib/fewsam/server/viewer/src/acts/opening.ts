/** The labelmap of whatever series the person looks at: opened, kept in step with the server, and left. */

import * as api from '../api';
import type { Head } from '../model/session';
import * as texts from '../model/texts';
import { Labelmap } from '../viewer/labelmap';
import { active, isShown } from '../viewer/grid';
import { Unfollowed } from '../viewer/unfollowed';
import type { Desk } from './desk';

export class Opening {
  private now = ''; // the series that is being opened
  private waited = 0; // looks without an open series
  private closed = false;
  private unfollowed = new Unfollowed();
  private ids = ''; // the structures of the labelmap that was fetched last

  constructor(
    private desk: Desk,
    private on: { nothing: () => boolean; opened: (map: Labelmap) => void; left: () => void },
  ) {}

  /** Open the series in the viewport, where it is not open already. */
  async follow(): Promise<void> {
    const [now, { map }] = [active(), this.desk];
    const series: string = now?.displaySet.SeriesInstanceUID ?? '';
    if (!now && !map && ++this.waited === 4 && !this.on.nothing()) {
      const marked = 'The viewer marks what it cannot show with a triangle in the list on the left.';
      this.desk.say(`No image series is open. Double-click one in the list. ${marked}`, '');
    }
    if (!now || this.now === series + now.viewportId) return;
    if (map?.series === series && map.viewportId === now.viewportId) return;
    this.now = series + now.viewportId;
    try {
      await this.open(series, now);
    } finally {
      this.now = '';
    }
  }

  /** The panel is closed: what is being opened is not. */
  close(): void {
    this.closed = true;
    this.leave();
    this.keep(true);
  }

  leave(): void {
    const { map, store } = this.desk;
    if (map) map.leave();
    else this.keep(true);
    this.on.left();
    this.desk.map = null;
    store.aside.value = '';
    store.conflict.value = {};
    store.changed.value = [];
  }

  /** Keep in the browser all that is drawn on the page, also on series that were left; false where its store is full. */
  keep(closing = false): boolean {
    const { map } = this.desk;
    map?.commit();
    const others = Labelmap.keepStrokes(this.unfollowed, map);
    return (map?.session.keep(closing) ?? true) && others;
  }

  /** Put back what was drawn in pages that crashed, once they have been silent for a while. */
  putBack(): void {
    const { map } = this.desk;
    if (!map || map.drawing) return;
    map.commit();
    const back = map.session.putBack();
    if (!back.length) return;
    map.render(back);
    this.desk.say(`${texts.capital(texts.slicesOf(back))}: drawn here before and not submitted; put back.`, '');
  }

  /**
   * Show what was submitted from elsewhere, but on slices that are drawn on here. A structure that was deleted is shown
   * no longer, and one that came back with its labels: where that fails, it is tried again at the next look.
   */
  async catchUp(): Promise<void> {
    const [{ map, store }, image, { ids }] = [this.desk, this.desk.store.server.value?.image, this.desk.structures];
    if (!map || map.drawing) return;
    map.commit();
    const stale = image?.id === map.series ? map.session.slices.stale(image.submissions) : [];
    const idle = !store.busy.value; // otherwise what is being done says itself what came of it
    if ((!stale.length && ids === this.ids) || !(await this.desk.fetch())) return;
    this.ids = ids;
    if (stale.length && idle && !store.busy.value) {
      this.desk.say(`${texts.capital(texts.slicesOf(stale))}: submitted from elsewhere, and shown here now.`, '');
    }
  }

  /** Whether a series is still to be opened: nobody closed the panel meanwhile, or went on to another series. */
  private wants(series: string, viewportId: string): boolean {
    return !this.closed && isShown(series, viewportId);
  }

  private async open(series: string, { viewportId, displaySet }: { viewportId: string; displaySet: any }): Promise<void> {
    const { structures, store } = this.desk;
    this.leave();
    const state = await api.getState(series);
    if (!this.wants(series, viewportId)) return;
    store.server.value = state;
    structures.update(state.structures);
    const { ids } = structures;
    const known = await api.getLabelmap(series);
    if (!this.wants(series, viewportId)) return;
    // Once all is known: nobody waits for the server with a labelmap at hand that takes no drawing yet.
    const map = await Labelmap.open(viewportId, displaySet, structures, this.unfollowed);
    let drafts: number[];
    try {
      await map.released();
      if (!this.wants(series, viewportId)) return map.close();
      drafts = map.follow(known.voxels, known.head as Head);
    } catch (error) {
      map.close(); // the next look makes another one
      throw error;
    }
    map.onStroke = () => {
      if (store.message.value.text === texts.PLANES) this.desk.say('', ''); // here something was drawn
      this.desk.show();
    };
    this.desk.map = map;
    this.ids = ids;
    store.answered.value = known.head.served;
    texts.numbering.of = k => map.geometry.placeOf(k) + 1;
    const chosen = store.chosen.value;
    this.desk.choose(structures.of(chosen) ? chosen : (structures.all[0]?.value ?? 1));
    this.desk.say(texts.greeting(known.head, { back: drafts.length, misfits: map.session.misfits }, state), '');
    this.on.opened(map);
  }
}
