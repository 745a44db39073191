/** Scribbles and boxes: drawn by a drag, done when the button is released. */

import { type At, type Hand, element } from './overlay';

export type Dragged = 'scribble' | 'box';
export type Place = [number, number]; // (i, j)

const LEAST = 0.5; // pixels of the image between two places of a scribble

export class Drag implements Hand {
  private places: Place[] = [];
  private k = 0;
  private exclude = false;

  /**
   * Args:
   *     done: takes the line of a scribble, or two corners of a box, and whether it excludes.
   */
  constructor(
    private kind: Dragged,
    private done: (kind: Dragged, places: Place[], k: number, exclude: boolean) => void,
  ) {}

  down(at: At, event: MouseEvent): void {
    this.k = at.k;
    this.exclude = event.altKey;
    this.places = [[at.i, at.j]];
  }

  move(at: At, event: MouseEvent): void {
    if (!this.places.length) return;
    if (!event.buttons || at.k !== this.k) return this.leave(); // it was released outside of the viewport
    if (this.kind === 'box') this.places = [this.places[0], [at.i, at.j]];
    else {
      const [i, j] = this.places[this.places.length - 1];
      if (Math.hypot(at.i - i, at.j - j) >= LEAST) this.places.push([at.i, at.j]);
    }
  }

  up(): void {
    const [places, k] = [this.places, this.k];
    this.leave();
    if (places.length > 1) this.done(this.kind, places, k, this.exclude);
  }

  leave(): void {
    this.places = [];
  }

  draw(svg: SVGElement, screen: (i: number, j: number, k: number) => [number, number], k: number): void {
    if (this.places.length > 1 && k === this.k) svg.append(outline(this.kind, this.places, !this.exclude, place => screen(...place, k)));
  }
}

/** A scribble or a box as it is drawn over the image. */
export function outline(kind: Dragged, places: Place[], include: boolean, screen: (place: Place) => [number, number]): SVGElement {
  const corners: Place[] = kind === 'box' ? boxed(places) : places;
  const points = corners.map(place => screen(place).join(',')).join(' ');
  const stroke = include ? '#3ddc5b' : '#ff4d4d';
  const name = kind === 'box' ? 'polygon' : 'polyline';
  return element(name, { points, fill: 'none', stroke, 'stroke-width': kind === 'box' ? 1.5 : 3, 'stroke-linecap': 'round' });
}

function boxed([[i, j], [to, down]]: Place[]): Place[] {
  return [[i, j], [to, j], [to, down], [i, down]];
}
