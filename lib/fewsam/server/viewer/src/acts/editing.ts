/** Edit the chosen structure by one press: on the slice on the screen, or on the slices between drawn ones. */

import { interpolated, maskOf, painted, withMask } from '../model/editing';
import { type Mask, filled, polygon, smoothed, withoutIslands } from '../model/masks';
import type { Pixels } from '../model/slices';
import type { Structure } from '../model/structures';
import * as texts from '../model/texts';
import type { Labelmap } from '../viewer/labelmap';
import { type Desk, onScreen } from './desk';

export class Editing {
  constructor(private desk: Desk) {}

  holes(): void {
    this.reshape('has no holes', filled);
  }

  smooth(): void {
    this.reshape('is smooth already', smoothed);
  }

  islands(): void {
    this.reshape('has no islands', withoutIslands);
  }

  /** From the slice before, as the viewer counts them. */
  copy(): void {
    this.edit((map, { name, value }, k) => {
      const before = map.geometry.at(map.geometry.placeOf(k) - 1);
      const mask = before === null ? null : maskOf(map.session.slices.shown(before), value);
      if (before === null || !mask?.includes(1)) return this.desk.say(`${name} is not on the slice before: there is nothing to copy.`, 'bad');
      this.draw(map, new Map([[k, withMask(map.session.slices.shown(k), value, mask)]]), `${name} is copied from ${texts.slicesOf([before])}.`);
    });
  }

  interpolate(): void {
    this.edit((map, { name, value }) => {
      const { slices } = map.session;
      const labelled = this.desk.store.server.value?.image?.labelled ?? [];
      const drawn = [...new Set([...slices.dirty, ...labelled])].sort((a, b) => a - b);
      const found = interpolated(k => slices.shown(k), drawn, value, map.geometry.planes[0].columns);
      if (!found.size) return this.desk.say(`${name} is on no two drawn slices with others between them.`, 'bad');
      const where = texts.slicesOf([...found.keys()]);
      this.draw(map, found, `${name} is interpolated on ${where}. Look at them; Submit makes them labels, Undo takes them back.`);
    });
  }

  /** Paint, or erase, what a closed line through places (i, j) encloses. */
  area(places: [number, number][], on: number, erase: boolean): void {
    this.edit((map, { value }) => {
      const { columns, rows } = map.geometry.planes[on];
      const { locked } = this.desk.store.look.value;
      const pixels = painted(map.session.slices.shown(on), value, polygon(places, columns, rows), erase, locked);
      this.draw(map, new Map([[on, pixels]]), '');
    });
  }

  private reshape(otherwise: string, change: (mask: Mask, width: number) => Mask): void {
    this.edit((map, { name, value }, k) => {
      const shown = map.session.slices.shown(k);
      const pixels = withMask(shown, value, change(maskOf(shown, value), map.geometry.planes[k].columns));
      this.draw(map, new Map([[k, pixels]]), '') || this.desk.say(`${name} ${otherwise} on ${texts.slicesOf([k])}.`, '');
    });
  }

  /** Do something with the chosen structure on the slice on the screen. */
  private edit(change: (map: Labelmap, structure: Structure, k: number) => void): void {
    const { store, structures } = this.desk;
    const [map, structure] = [onScreen(this.desk), structures.of(store.chosen.value)];
    if (!map || !structure) return;
    if (store.look.value.locked.includes(structure.value)) return this.desk.say(`${structure.name} is locked.`, 'bad');
    map.commit();
    change(map, structure, map.geometry.current());
    this.desk.show();
  }

  private draw(map: Labelmap, slices: Map<number, Pixels>, text: string): boolean {
    const changed = map.session.draw(slices);
    map.render(changed);
    if (text) this.desk.say(text, 'good');
    return changed.length > 0;
  }
}
