/** Clicked points: each is answered in its turn, also one that was made while another is computed. */

import * as api from '../api';
import { sparing } from '../model/editing';
import { corrected } from '../model/points';
import type { Point } from '../model/session';
import * as texts from '../model/texts';
import { type Desk, left, onScreen } from './desk';
import type { Prompting } from './prompting';

export class Pointing {
  private queue: Promise<void> = Promise.resolve();
  private answered = new Map<string, Uint8Array>(); // masks with points, by what these are

  constructor(
    private desk: Desk,
    private prompting: Prompting,
  ) {}

  point({ i: x, j: y, k }: { i: number; j: number; k: number }): void {
    const [i, j] = [Math.round(x), Math.round(y)];
    const { store, structures } = this.desk;
    const of = onScreen(this.desk); // the series of the click, whichever is open when its turn comes
    if (!of) return;
    const structure = structures.of(store.chosen.value);
    const include = store.tool.value === 'include';
    if (!structure) return this.desk.say('Choose a structure first.', 'bad');
    const { value, id, name } = structure;
    if (store.look.value.locked.includes(value)) return this.desk.say(`${name} is locked.`, 'bad');
    if (this.prompting.takes(value)) return this.prompting.add({ i, j, k, include, value });
    this.queue = this.queue.then(() =>
      this.desk.work('Correcting', async map => {
        map.commit();
        const session = map.session;
        // Whoever clicks a pixel again has changed their mind about it.
        const before = session.points.filter(one => one.i !== i || one.j !== j || one.k !== k || one.value !== value);
        const all = [...before, { i, j, k, include, value }];
        const points = all.filter(one => one.k === k && one.value === value);
        const side = (wanted: boolean): number[][] => points.filter(one => one.include === wanted).map(one => [one.i, one.j]);
        const body = { image: map.series, slice: k, label: name, id, include: side(true), exclude: side(false) };
        const { voxels } = await api.correct(body);
        await map.released();
        if (left(this.desk, map)) return;
        map.commit();
        if (all.length === 1) this.answered.clear();
        const earlier = this.answered.get(named(map.series, session.points, k, value));
        this.answered.set(named(map.series, all, k, value), voxels.slice(0, voxels.length / 2));
        const [shown, width] = [session.slices.shown(k), map.geometry.planes[k].columns];
        const pixels = sparing(corrected(shown, voxels, value, points, width, earlier), shown, store.look.value.locked);
        map.render(session.correct(k, pixels, all));
        this.desk.say(`${name}: ${texts.count(points.length, 'point')} on ${texts.slicesOf([k])}. Submit when it is right.`, '');
      }, of),
    );
  }

  clear(): void {
    if (this.desk.map) this.desk.map.session.points = [];
    this.desk.show();
  }
}

/** The points of one structure on one slice. */
function named(series: string, points: Point[], k: number, value: number): string {
  return JSON.stringify([series, k, value, points.filter(one => one.k === k && one.value === value)]);
}
