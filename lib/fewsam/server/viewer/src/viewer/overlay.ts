/** What lies over the viewport: the strip along the slice slider, marks on the image, and tools of ours that point at it. */

import { outline } from './drag';
import type { Labelmap } from './labelmap';
import { active, isShown } from './grid';
import { viewportOf } from './ohif';
import { Strip, type StripShown } from './strip';

const SVG = 'http://www.w3.org/2000/svg';

/** A place that the mouse points at: on the screen of the viewport, and (i, j) between the pixels of slice k. */
export interface At {
  x: number;
  y: number;
  i: number;
  j: number;
  k: number;
}

/** A tool of ours: while it is in hand the viewer's own tools see nothing of the left button. */
export interface Hand {
  down(at: At, event: MouseEvent): void;
  move?(at: At, event: MouseEvent): void;
  up?(at: At, event: MouseEvent): void;
  /** A double click. */
  twice?(at: At, event: MouseEvent): void;
  /** It is put away, or another slice is on the screen. */
  leave?(): void;
  /** Draw what it holds. */
  draw?(svg: SVGElement, screen: (i: number, j: number, k: number) => [number, number], k: number): void;
}

const EVENTS = ['mousedown', 'mouseup', 'mousemove', 'click', 'dblclick'] as const;
const LOOK = 500; // ms between two looks whether the viewer has another element, or shows another part

export class Overlay {
  private strip: Strip;
  private marks = element('svg');
  private points = element('g');
  private held = element('g');
  private parent: HTMLElement | null = null;
  private timer = 0;
  private inHand: Hand | null = null;
  private k = -1; // the slice that the tool in hand was drawn on last

  constructor(private map: Labelmap) {
    this.strip = new Strip(map);
    this.marks.id = 'fewsam-points';
    this.marks.style.cssText = 'position:absolute;inset:0;width:100%;height:100%;pointer-events:none;z-index:19';
    this.marks.append(this.points, this.held);
    this.attach();
    this.timer = window.setInterval(() => this.attach(), LOOK);
  }

  /** The tool in hand; null: the viewer's own work. */
  set hand(hand: Hand | null) {
    if (hand === this.inHand) return;
    this.inHand?.leave?.();
    this.held.replaceChildren();
    this.inHand = hand;
    this.parent?.classList.toggle('fewsam-hand', hand !== null);
  }

  draw(shown?: StripShown): void {
    if (!this.parent) return;
    this.strip.draw(this.parent.clientHeight, shown);
    this.drawPoints();
    this.redraw();
  }

  /** Draw what the tool in hand holds. */
  redraw(): void {
    if (this.held.childElementCount) this.held.replaceChildren();
    const viewport = viewportOf(this.map.viewportId);
    if (!viewport || !this.inHand?.draw) return;
    const k = this.map.geometry.current();
    if (k !== this.k) this.inHand.leave?.(); // what it holds is not seen any more
    this.k = k;
    const screen = (i: number, j: number, on: number): [number, number] => viewport.worldToCanvas(this.map.geometry.world(i, j, on));
    this.inHand.draw(this.held, screen, k);
  }

  close(): void {
    window.clearInterval(this.timer);
    this.hand = null;
    this.detach();
    this.parent = null;
  }

  private handle = (event: MouseEvent): void => {
    if (!this.inHand || event.button !== 0 || this.strip.owns(event.target)) return;
    if (!isShown(this.map.series, this.map.viewportId)) return; // another series is about to be opened
    event.stopImmediatePropagation();
    event.preventDefault();
    const at = this.at(event);
    if (!at) return;
    if (event.type === 'mousedown') this.inHand.down(at, event);
    if (event.type === 'mousemove') this.inHand.move?.(at, event);
    if (event.type === 'mouseup') this.inHand.up?.(at, event);
    if (event.type === 'dblclick') this.inHand.twice?.(at, event);
    this.redraw();
  };

  private at(event: MouseEvent): At | null {
    const viewport = viewportOf(this.map.viewportId);
    const rect = viewport?.canvas?.getBoundingClientRect() ?? viewport?.element.getBoundingClientRect();
    if (!rect) return null;
    const [x, y] = [event.clientX - rect.left, event.clientY - rect.top];
    const k = this.map.geometry.current();
    const [i, j] = this.map.geometry.place(Array.from(viewport.canvasToWorld([x, y]) as number[]), k);
    return { x, y, i, j, k };
  }

  private attach(): void {
    const now = active();
    const slices = now?.viewportId !== this.map.viewportId || now.view === 'slices';
    const shown: HTMLElement | null = slices ? (viewportOf(this.map.viewportId)?.element ?? null) : null;
    const parent = shown?.parentElement ?? null;
    if (parent !== this.parent || !this.marks.isConnected) {
      this.detach();
      if (parent) {
        if (getComputedStyle(parent).position === 'static') parent.style.position = 'relative';
        parent.append(...this.strip.elements, this.marks);
        EVENTS.forEach(name => parent.addEventListener(name, this.handle, true));
        parent.classList.toggle('fewsam-hand', this.inHand !== null);
      }
      this.parent = parent;
    }
    this.draw();
  }

  private detach(): void {
    EVENTS.forEach(name => this.parent?.removeEventListener(name, this.handle, true));
    this.parent?.classList.remove('fewsam-hand');
    [...this.strip.elements, this.marks].forEach(one => one.remove());
  }

  private drawPoints(): void {
    if (this.points.childElementCount) this.points.replaceChildren();
    const viewport = viewportOf(this.map.viewportId);
    if (!viewport || !this.map.session.points.length) return;
    const k = this.map.geometry.current();
    const screen = ([i, j]: [number, number]): [number, number] => viewport.worldToCanvas(this.map.geometry.world(i, j, k));
    for (const point of this.map.session.points.filter(one => one.k === k)) {
      if (point.kind && point.line) {
        this.points.append(outline(point.kind, point.line, point.include, screen));
        continue;
      }
      const [x, y] = viewport.worldToCanvas(this.map.geometry.world(point.i, point.j, point.k));
      const fill = point.include ? '#3ddc5b' : '#ff4d4d';
      this.points.append(element('circle', { cx: x, cy: y, r: 5, fill, stroke: '#fff' }));
    }
  }
}

export function element(name: string, attributes: Record<string, string | number> = {}): SVGElement {
  const made = document.createElementNS(SVG, name) as SVGElement;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
