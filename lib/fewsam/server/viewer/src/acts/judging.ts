/** Say what a slice is without drawing: right as it is, or without a structure. Both are steps of undo. */

import * as texts from '../model/texts';
import { type Desk, onScreen } from './desk';

export class Judging {
  constructor(private desk: Desk) {}

  /** The slice on the screen is right as it is shown. */
  right(): void {
    const map = onScreen(this.desk);
    if (!map) return;
    map.commit();
    const k = map.geometry.current();
    const { slices } = map.session;
    map.render(map.session.confirm(k));
    const said = slices.isConfirmed(k) ? 'right as it is' : 'drawn by hand already';
    this.said(`${texts.capital(texts.slicesOf([k]))} is ${said}. Submit makes it a label.`);
  }

  /** The chosen structure is not on the slice on the screen. */
  absent(): void {
    const { structures, store } = this.desk;
    const [map, structure] = [onScreen(this.desk), structures.of(store.chosen.value)];
    if (!map || !structure) return;
    map.commit();
    const k = map.geometry.current();
    map.render(map.session.absent(k, structure.value));
    const others = map.session.slices.shown(k).some(Boolean) ? '' : ', and nothing else is';
    this.said(`${structure.name} is not on ${texts.slicesOf([k])}${others}. Submit makes that a label.`);
  }

  private said(text: string): void {
    this.desk.say(text, 'good');
    this.desk.show();
  }
}
