/** Where the slices of a series lie, as the viewer has them: k in ITK's order, places along the viewer's slider, pixels. */

import { active } from './grid';
import { Plane, cornerstone, dot, planeOf, viewportOf } from './ohif';

export class Geometry {
  constructor(
    private viewportId: string,
    readonly planes: Plane[], // by k
    private frames: number[], // k -> place among the viewer's images
  ) {}

  /** Place of slice k among the viewer's images. */
  imageOf(k: number): number {
    return this.frames[k];
  }

  /** Places of all slices along the viewer's slider, by k; 0 at its top. A volume's slider runs along the line of sight. */
  places(): number[] {
    const viewport = viewportOf(this.viewportId);
    if (viewport?.type !== 'orthographic') return this.frames;
    const [now, place] = [this.current(), viewport.getSliceIndex()];
    const ahead = dot(viewport.getCamera().viewPlaneNormal, this.planes[0].normal) < 0 ? -1 : 1;
    return this.planes.map((_, k) => place + ahead * (k - now));
  }

  /** Place of slice k along the viewer's slider. */
  placeOf(k: number): number {
    return this.places()[k];
  }

  /** Slice k at a place along the viewer's slider; null where there is none. */
  at(place: number): number | null {
    const k = this.places().indexOf(place);
    return k < 0 ? null : k;
  }

  /** Slice k that the viewport shows. */
  current(): number {
    const viewport = viewportOf(this.viewportId);
    if (!viewport) return 0;
    const imageId = viewport.getCurrentImageId?.();
    const camera = viewport.getCamera?.();
    const place = imageId ? planeOf(imageId).position : camera?.focalPoint;
    return place ? this.nearest(Array.from(place as number[])) : 0;
  }

  nearest(world: number[]): number {
    let best = 0;
    let least = Infinity;
    this.planes.forEach((plane, k) => {
      const away = Math.abs(dot(world.map((v, axis) => v - plane.position[axis]), plane.normal));
      if (away < least) [best, least] = [k, away];
    });
    return best;
  }

  /** Place (i, j) of a point in space on slice k; whole numbers are the centres of pixels. */
  place(world: number[], k: number): [number, number] {
    const plane = this.planes[k];
    const from = world.map((v, axis) => v - plane.position[axis]);
    return [dot(from, plane.row) / plane.spacing[0], dot(from, plane.column) / plane.spacing[1]];
  }

  world(i: number, j: number, k: number): number[] {
    const { position, row, column, spacing } = this.planes[k];
    return position.map((v, axis) => v + row[axis] * spacing[0] * i + column[axis] * spacing[1] * j);
  }

  jump(k: number): void {
    const viewport = viewportOf(this.viewportId);
    const now = active();
    if (!viewport || (now?.viewportId === this.viewportId && now.view !== 'slices')) return;
    const stack = viewport.type !== 'orthographic';
    const shown = stack && now?.viewportId === this.viewportId ? viewport.getImageIds?.() : null;
    const wanted = this.planes[k].position;
    let imageIndex = this.placeOf(k);
    if (shown?.length === this.planes.length) {
      const found = shown.findIndex((id: string) => {
        const { position, normal } = planeOf(id);
        return Math.abs(dot(position.map((v, axis) => v - wanted[axis]), normal)) < 1e-3;
      });
      if (found >= 0) imageIndex = found;
    }
    cornerstone().utilities.jumpToSlice(viewport.element, { imageIndex });
  }
}
