/** The lasso: drag round an area, or click its corners and close it with Enter, a double click or a click on the first one. */

import { type At, type Hand, element } from './overlay';
import { typing } from './typing';

const NEAR = 8; // pixels of the screen: as near as this to the first corner closes

export class Lasso implements Hand {
  private places: [number, number][] = []; // (i, j)
  private k = 0;
  private dragging = false;
  private moved = false;
  private first: [number, number] = [0, 0]; // corner, on the screen
  private pressed: [number, number] = [0, 0]; // where the mouse went down
  private towards: At | null = null;

  /**
   * Args:
   *     done: takes the corners of a closed area, and whether it is to be erased.
   *     redraw: draws what is held.
   */
  constructor(
    private done: (places: [number, number][], k: number, erase: boolean) => void,
    private redraw: () => void,
  ) {}

  down(at: At, event: MouseEvent): void {
    if (this.places.length && at.k !== this.k) this.leave();
    if (this.places.length > 2 && Math.hypot(at.x - this.first[0], at.y - this.first[1]) < NEAR) return this.close(event.altKey);
    if (!this.places.length) {
      this.first = [at.x, at.y];
      this.k = at.k;
      window.addEventListener('keydown', this.keys, true);
    }
    this.pressed = [at.x, at.y];
    this.dragging = true;
    this.moved = false;
    this.places.push([at.i, at.j]);
  }

  move(at: At, event: MouseEvent): void {
    this.towards = at;
    if (this.dragging && !event.buttons) this.dragging = false; // it was released outside of the viewport
    if (!this.dragging || at.k !== this.k) return;
    const [i, j] = this.places[this.places.length - 1];
    if (Math.hypot(at.i - i, at.j - j) < 0.5) return;
    this.places.push([at.i, at.j]);
    this.moved ||= Math.hypot(at.x - this.pressed[0], at.y - this.pressed[1]) > NEAR;
  }

  up(_: At, event: MouseEvent): void {
    const dragged = this.dragging && this.moved;
    this.dragging = false;
    if (dragged && this.places.length > 2) this.close(event.altKey);
  }

  twice(_: At, event: MouseEvent): void {
    this.close(event.altKey);
  }

  leave(): void {
    this.places = [];
    this.dragging = false;
    this.towards = null;
    window.removeEventListener('keydown', this.keys, true);
  }

  draw(svg: SVGElement, screen: (i: number, j: number, k: number) => [number, number], k: number): void {
    if (!this.places.length || k !== this.k) return;
    const corners = this.places.map(([i, j]) => screen(i, j, this.k));
    if (this.towards && !this.dragging) corners.push([this.towards.x, this.towards.y]);
    const points = corners.map(corner => corner.join(',')).join(' ');
    svg.append(element('polygon', { points, fill: 'rgba(255,225,77,.2)', stroke: '#ffe14d', 'stroke-width': 1.5 }));
    if (!this.moved) svg.append(element('circle', { cx: corners[0][0], cy: corners[0][1], r: 4, fill: '#ffe14d' }));
  }

  private close(erase: boolean): void {
    const [places, k] = [this.places, this.k];
    this.leave();
    this.redraw();
    if (places.length > 2) this.done(places, k, erase);
  }

  private keys = (event: KeyboardEvent): void => {
    if (!['Enter', 'Escape', 'Backspace'].includes(event.key) || typing(event.target)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.key === 'Enter') return this.close(event.altKey);
    if (event.key === 'Backspace') this.places.pop();
    if (event.key === 'Escape' || !this.places.length) this.leave();
    this.redraw();
  };
}
