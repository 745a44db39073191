/** The learning curve as a drawing: mean Dice of what was served against what was then submitted, by submission. */

import { CurvePoint } from './api';

const SVG = 'http://www.w3.org/2000/svg';

export function mean(point: CurvePoint): number {
  const values = Object.values(point.dice).filter(Number.isFinite);
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

export function drawCurve(svg: SVGSVGElement, curve: CurvePoint[]): void {
  svg.setAttribute('viewBox', '0 0 240 110');
  svg.replaceChildren();
  const add = (name: string, attributes: Record<string, string | number>, text = ''): void => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    if (text) element.textContent = text;
    svg.append(element);
  };
  for (const dice of [0, 0.5, 1]) {
    const y = 95 - 85 * dice;
    add('line', { x1: 24, x2: 235, y1: y, y2: y, stroke: '#2a3866' });
    add('text', { x: 3, y: y + 3, fill: '#8fa3d6', 'font-size': 9 }, dice.toFixed(1));
  }
  const points = curve.slice(-40).filter(point => Object.keys(point.dice).length);
  const x = (n: number): number => (points.length < 2 ? 130 : 30 + (200 * n) / (points.length - 1));
  const places = points.map((point, n) => [x(n), 95 - 85 * mean(point)] as const);
  add('polyline', { points: places.map(p => p.join(',')).join(' '), fill: 'none', stroke: '#5a78f0', 'stroke-width': 1.5 });
  places.forEach(([cx, cy], n) => {
    add('circle', { cx, cy, r: 3, fill: points[n].model_version ? '#3ddc5b' : '#ffb347' });
    if (points.length <= 8 || n === points.length - 1) {
      add('text', { x: cx - 8, y: Math.max(cy - 6, 9), fill: '#e6ecff', 'font-size': 9 }, mean(points[n]).toFixed(2));
    }
  });
  const caption = points.length ? 'submission →   orange: untrained, green: trained' : 'appears when you submit a correction';
  add('text', { x: 28, y: 107, fill: '#8fa3d6', 'font-size': 9 }, caption);
}
