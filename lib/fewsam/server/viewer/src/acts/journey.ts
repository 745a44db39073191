/** From slice to slice: Next stays in the open series while something there is worth labelling, and Back leads back. */

import * as api from '../api';
import { capital, count, slicesOf, unkept } from '../model/texts';
import { type Place, Trail } from '../model/trail';
import type { Labelmap } from '../viewer/labelmap';
import { active } from '../viewer/grid';
import { shows } from '../viewer/ohif';
import { type Desk, left } from './desk';

const TRIES = 20; // series in a row that the viewer cannot show

export class Journey {
  private trail = new Trail(sessionStorage);
  private offered: number | null = null; // slice of the open series that Next led to

  constructor(private desk: Desk) {}

  get canGoBack(): boolean {
    return this.trail.length > 0;
  }

  async next(leave = false): Promise<void> {
    await this.desk.work('Choosing', async map => {
      map.commit();
      const offer = await this.ask(map, leave);
      await map.released(); // a stroke goes on where it was begun
      if (left(this.desk, map)) return;
      if (!offer.id) return this.nothingLeft(offer.left ?? 0, leave);
      if (offer.id !== map.series) return void this.go({ study: offer.study ?? '', series: offer.id, slice: offer.slice ?? 0 });
      map.commit();
      this.trail.leave(this.here(map));
      this.offered = offer.slice ?? 0;
      map.geometry.jump(this.offered);
      this.desk.say(`${capital(slicesOf([this.offered]))}: its label would teach most.`, 'good');
    });
  }

  /** Another slice instead of the one on the screen. */
  async skip(): Promise<void> {
    const map = this.desk.map;
    if (!map) return;
    this.trail.skip(map.series, this.offered ?? map.geometry.current());
    this.offered = null;
    await this.next();
  }

  back(): void {
    const map = this.desk.map;
    const place = this.trail.back();
    if (!place) return this.desk.say('You are where you began.', '');
    if (map?.series !== place.series) {
      if (!this.go(place, false)) this.trail.leave(place); // Back leads there later
      return;
    }
    map.geometry.jump(place.slice);
    this.desk.say(`Back on ${slicesOf([place.slice])}.`, '');
    this.desk.show();
  }

  /** After a change of study: to the slice it was made for. */
  arrive(): void {
    const [there, map] = [this.trail.destination, this.desk.map];
    if (!there || !map || there.series !== map.series) return;
    this.trail.arrived();
    window.setTimeout(() => map.geometry.jump(there.slice), 600);
    this.desk.say(`Another study, ${slicesOf([there.slice])}. Back leads to where you were.`, 'good');
  }

  /** Whether Next led to a series that the viewer does not show: it says so, and Back leads back. */
  stranded(): boolean {
    const there = this.trail.destination;
    if (!there) return false;
    this.trail.unshowable(there.series);
    this.trail.arrived();
    this.desk.say('The viewer cannot show the series that was next; it is not offered again.', 'asks', [
      { label: 'Back to where I was', act: () => this.back() },
    ]);
    return true;
  }

  /** An offer that the viewer can show. */
  private async ask(map: Labelmap, leave: boolean): Promise<api.Offer> {
    let offer: api.Offer = {};
    for (let n = 0; n < TRIES; n++) {
      const { unshown } = this.trail;
      offer = await api.next({ image: map.series, skip: this.trail.skipped(map.series), leave, unshown });
      if (!offer.id || !offer.sop_class || shows(offer.sop_class)) return offer;
      this.trail.unshowable(offer.id);
    }
    return { left: offer.left };
  }

  private nothingLeft(left: number, leave: boolean): void {
    if (leave) return this.desk.say('Nothing is left to label: every slice is labelled, skipped, or somebody else is at it.', 'good');
    const rest = left ? `${count(left, 'slice')} of this series ${left === 1 ? 'is' : 'are'} not labelled, and none is worth asking for` : 'Every slice of this series is labelled';
    this.desk.say(`${rest}. Go on in another series?`, 'asks', [
      { label: 'Go there', act: () => void this.next(true) },
      { label: 'Stay', act: () => this.desk.say('Draw, correct or train on; Next slice asks again.', '') },
    ]);
  }

  /** To a series of the worklist; Back leads back. */
  visit(study: string, series: string): void {
    this.go({ study, series, slice: 0 });
  }

  private here(map: Labelmap): Place {
    const study: string = active()?.displaySet.StudyInstanceUID ?? '';
    return { study, series: map.series, slice: map.geometry.current() };
  }

  /** To another series, for which the page is loaded anew; not while that would lose something. Whether it goes there. */
  private go(place: Place, noted = true): boolean {
    const { map } = this.desk;
    if (!this.desk.keep()) {
      this.desk.say(unkept, 'bad');
      return false;
    }
    if (map && noted) this.trail.leave(this.here(map));
    this.trail.depart(place);
    const there = new URLSearchParams({ StudyInstanceUIDs: place.study, initialSeriesInstanceUID: place.series });
    this.desk.say('Going to another study.', '');
    location.assign(`${location.pathname}?${there}`);
    return true;
  }
}
