/** What lies over the viewport: the strip of uncertainty along the slice slider, and the clicked points. */

import { Labelmap } from './labelmap';
import { viewportOf } from './ohif';

const WIDTH = 12;

export class Overlay {
  private strip = document.createElement('canvas');
  private marks = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  private parent: HTMLElement | null = null;
  private timer = 0;
  uncertainty: number[] = [];
  labelled: number[] = [];
  /** Called with the pixel under a click while points are being set; null: the viewer's own tools work. */
  onPoint: ((i: number, j: number, k: number) => void) | null = null;

  constructor(private map: Labelmap) {
    this.strip.id = 'fewsam-strip';
    this.strip.title = 'Uncertainty by slice: the redder, the less sure. White ticks are labelled slices. Click to go there.';
    this.strip.style.cssText = `position:absolute;right:24px;top:40px;width:${WIDTH}px;z-index:20;cursor:pointer`;
    this.strip.addEventListener('mousedown', event => {
      event.stopPropagation();
      const rect = this.strip.getBoundingClientRect();
      const frame = Math.floor(((event.clientY - rect.top) / rect.height) * this.map.session.slices.depth);
      for (let k = 0; k < this.map.session.slices.depth; k++) if (this.map.geometry.frameOf(k) === frame) this.map.geometry.jump(k);
    });
    this.marks.id = 'fewsam-points';
    this.marks.style.cssText = 'position:absolute;inset:0;width:100%;height:100%;pointer-events:none;z-index:19';
    this.attach();
    this.timer = window.setInterval(() => this.attach(), 500);
  }

  private pointer = (event: MouseEvent): void => {
    if (!this.onPoint || event.button !== 0 || event.target === this.strip) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    if (event.type !== 'mousedown') return;
    const viewport = viewportOf(this.map.viewportId);
    const rect = viewport?.canvas?.getBoundingClientRect() ?? viewport?.element.getBoundingClientRect();
    if (!rect) return;
    const world = viewport.canvasToWorld([event.clientX - rect.left, event.clientY - rect.top]);
    const k = this.map.geometry.current();
    const [i, j] = this.map.geometry.pixel(Array.from(world as number[]), k);
    this.onPoint(i, j, k);
  };

  private readonly events = ['mousedown', 'mouseup', 'mousemove', 'click'] as const;

  private attach(): void {
    const element: HTMLElement | null = viewportOf(this.map.viewportId)?.element ?? null;
    const parent = element?.parentElement ?? null;
    if (parent !== this.parent || !this.strip.isConnected) {
      this.detach();
      if (parent) {
        if (getComputedStyle(parent).position === 'static') parent.style.position = 'relative';
        parent.append(this.strip, this.marks);
        this.events.forEach(name => parent.addEventListener(name, this.pointer as EventListener, true));
      }
      this.parent = parent;
    }
    this.draw();
  }

  private detach(): void {
    this.events.forEach(name => this.parent?.removeEventListener(name, this.pointer as EventListener, true));
    this.strip.remove();
    this.marks.remove();
  }

  draw(): void {
    if (!this.parent) return;
    this.drawStrip(this.parent.clientHeight - 80);
    this.drawPoints();
  }

  private drawStrip(height: number): void {
    const depth = this.map.session.slices.depth;
    this.strip.width = WIDTH;
    this.strip.height = Math.max(height, depth);
    this.strip.style.height = `${this.strip.height}px`;
    const context = this.strip.getContext('2d');
    if (!context) return;
    const step = this.strip.height / depth;
    const current = this.map.geometry.current();
    // The colours span what there is: between surest and least sure slice.
    const known = this.uncertainty.filter((_, k) => !this.labelled.includes(k));
    const [low, high] = [Math.min(...known), Math.max(...known)];
    for (let k = 0; k < depth; k++) {
      const y = this.map.geometry.frameOf(k) * step;
      const doubt = this.uncertainty.length ? (this.uncertainty[k] - low) / Math.max(high - low, 1e-6) : null;
      const red = doubt === null ? 0 : Math.max(0, Math.min(1, doubt));
      const done = this.labelled.includes(k);
      context.fillStyle = doubt === null ? '#1d2b4d' : `rgb(${40 + 215 * red},${170 - 120 * red},60)`;
      if (done) context.fillStyle = '#ffffff';
      context.fillRect(0, y, WIDTH, Math.max(step - 0.5, 1));
      if (this.map.session.slices.isDirty(k)) {
        context.fillStyle = '#4da3ff';
        context.fillRect(0, y, 4, Math.max(step - 0.5, 1));
      }
      if (k === current) {
        context.strokeStyle = '#ffe14d';
        context.lineWidth = 2;
        context.strokeRect(1, y, WIDTH - 2, Math.max(step - 0.5, 3));
      }
    }
  }

  private drawPoints(): void {
    this.marks.replaceChildren();
    const viewport = viewportOf(this.map.viewportId);
    if (!viewport || !this.map.session.points.length) return;
    const k = this.map.geometry.current();
    for (const point of this.map.session.points.filter(one => one.k === k)) {
      const [x, y] = viewport.worldToCanvas(this.map.geometry.world(point.i, point.j, point.k));
      const mark = document.createElementNS('http://www.w3.org/2000/svg', 'circle');
      mark.setAttribute('cx', String(x));
      mark.setAttribute('cy', String(y));
      mark.setAttribute('r', '5');
      mark.setAttribute('fill', point.include ? '#3ddc5b' : '#ff4d4d');
      mark.setAttribute('stroke', '#fff');
      this.marks.append(mark);
    }
  }

  close(): void {
    window.clearInterval(this.timer);
    this.detach();
    this.parent = null;
  }
}
