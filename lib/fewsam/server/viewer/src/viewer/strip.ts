/** The strip along the slice slider: what is to be expected of each slice, what is done, and a click goes there. */

import { MARKS, colourOfError } from '../model/scale';
import type { Labelmap } from './labelmap';

const WIDTH = 16;
const TOP = 40; // below the viewer's own text in the corner
const BOTTOM = 40;

/** What the server says of the slices, and what the last Segment changed. */
export interface StripShown {
  uncertainty: number[];
  labelled: number[];
  changed: number[];
}

export class Strip {
  private canvas = document.createElement('canvas');
  private looks = '';
  private shown: StripShown = { uncertainty: [], labelled: [], changed: [] };

  constructor(private map: Labelmap) {
    this.canvas.id = 'fewsam-strip';
    this.canvas.style.cssText = `position:absolute;right:24px;top:${TOP}px;width:${WIDTH}px;z-index:20;cursor:pointer`;
    this.canvas.addEventListener('mousedown', event => {
      event.stopPropagation();
      const k = this.sliceAt(event);
      if (k !== null) map.geometry.jump(k);
    });
    this.canvas.addEventListener('mousemove', event => (this.canvas.title = this.title(this.sliceAt(event))));
  }

  get elements(): HTMLElement[] {
    return [this.canvas];
  }

  owns(target: EventTarget | null): boolean {
    return target === this.canvas;
  }

  draw(height: number, shown = this.shown): void {
    this.shown = shown;
    const { slices } = this.map.session;
    const [current, places] = [this.map.geometry.current(), this.map.geometry.places()];
    const confirmed = slices.dirty.filter(k => slices.isConfirmed(k));
    const looks = JSON.stringify([height, current, places, shown, slices.dirty, confirmed]);
    if (looks === this.looks) return; // a browser without a graphics card paints slowly
    this.looks = looks;
    this.canvas.width = WIDTH;
    this.canvas.height = Math.max(height - TOP - BOTTOM, slices.depth);
    this.canvas.style.height = `${this.canvas.height}px`;
    const context = this.canvas.getContext('2d');
    if (!context) return;
    const step = this.canvas.height / slices.depth;
    const tall = Math.max(step - 0.5, 1);
    for (let k = 0; k < slices.depth; k++) {
      const y = places[k] * step;
      const error = shown.uncertainty[k];
      context.fillStyle = error === undefined ? MARKS.waiting.colour : colourOfError(error);
      context.fillRect(4, y, WIDTH - 4, tall);
      if (shown.changed.includes(k)) {
        context.fillStyle = MARKS.changed.colour;
        context.fillRect(WIDTH - 3, y, 3, tall);
      }
      if (shown.labelled.includes(k)) {
        context.fillStyle = MARKS.labelled.colour;
        context.fillRect(4, y, WIDTH - 4, tall);
      }
      if (slices.isDirty(k)) {
        context.fillStyle = slices.isConfirmed(k) ? MARKS.confirmed.colour : MARKS.drawn.colour;
        context.fillRect(0, y, 7, Math.max(tall, 3));
      }
    }
    this.drawCurrent(context, places[current] * step, Math.max(tall, 4));
  }

  /** The slice on the screen: a frame of black and white shows on every colour. */
  private drawCurrent(context: CanvasRenderingContext2D, y: number, tall: number): void {
    context.lineWidth = 3;
    context.strokeStyle = '#000';
    context.strokeRect(1.5, y - 0.5, WIDTH - 3, tall + 1);
    context.lineWidth = 1;
    context.strokeStyle = '#fff';
    context.strokeRect(1.5, y - 0.5, WIDTH - 3, tall + 1);
  }

  private sliceAt(event: MouseEvent): number | null {
    const rect = this.canvas.getBoundingClientRect();
    const place = Math.floor(((event.clientY - rect.top) / rect.height) * this.map.session.slices.depth);
    return this.map.geometry.at(place);
  }

  private title(k: number | null): string {
    if (k === null) return '';
    const { slices } = this.map.session;
    const number = `Slice ${this.map.geometry.placeOf(k) + 1}`;
    if (slices.isConfirmed(k)) return `${number}: ${MARKS.confirmed.label}`;
    if (slices.isDirty(k)) return `${number}: ${MARKS.drawn.label}`;
    if (this.shown.labelled.includes(k)) return `${number}: labelled`;
    const error = this.shown.uncertainty[k];
    if (error === undefined) return `${number}: not segmented`;
    return `${number}: expected Dice ${(1 - error).toFixed(2)}${this.shown.changed.includes(k) ? ', changed by the last Segment' : ''}`;
  }
}
