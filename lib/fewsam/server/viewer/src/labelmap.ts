/** The labelmap of one series in the viewer, as slices k in ITK's order, with undo of our own. */

import { ClassInfo } from './api';
import { Plane, active, cornerstone, dot, host, planeOf, tools, viewportOf } from './ohif';

type Any = any;
type Change = { k: number; before: Uint8Array };

const UNDO_STEPS = 50;

export class Labelmap {
  readonly segmentationId: string;
  readonly planes: Plane[] = [];
  /** Slices changed here since the server last had them. */
  readonly dirty = new Set<number>();
  /** By slice: the submission that its label here came from, 0 for none. */
  readonly seen: number[] = [];
  onStroke: (slices: number[]) => void = () => {};

  private arrays: Uint8Array[] = []; // the viewer's own, by k
  private frames: number[] = []; // k -> place in the viewer's order
  private shadow: Uint8Array[] = [];
  private undoStack: Change[][] = [];
  private timer = 0;
  private pressed = false;
  private ended = false;
  private unsubscribe: (() => void)[] = [];

  private constructor(
    readonly series: string,
    readonly viewportId: string,
    displaySetUid: string,
  ) {
    this.segmentationId = `fewsam-${displaySetUid}`;
  }

  static async open(viewportId: string, displaySet: Any, classes: ClassInfo[]): Promise<Labelmap> {
    const map = new Labelmap(displaySet.SeriesInstanceUID, viewportId, displaySet.displaySetInstanceUID);
    const service = host.services.segmentationService;
    const there = service.getSegmentation?.(map.segmentationId);
    if (!there) {
      const segments: Record<number, Any> = {};
      for (const { name, value } of classes) {
        segments[value] = { segmentIndex: value, label: name, active: value === 1, locked: false };
      }
      if (!classes.length) segments[1] = { segmentIndex: 1, label: 'Segment 1', active: true };
      const options = { segmentationId: map.segmentationId, label: 'fewsam', segments };
      await service.createLabelmapForDisplaySet(displaySet, options);
    }
    await map.show();
    map.findVoxels();
    map.colour(classes);
    map.listen();
    return map;
  }

  /** Show it in the viewport, also again after the viewport changed. */
  async show(): Promise<void> {
    const service = host.services.segmentationService;
    const type = tools().Enums.SegmentationRepresentations.Labelmap;
    await service.addSegmentationRepresentation(this.viewportId, { segmentationId: this.segmentationId, type });
    service.setActiveSegmentation?.(this.viewportId, this.segmentationId);
  }

  colour(classes: ClassInfo[]): void {
    const service = host.services.segmentationService;
    const segmentation = tools().segmentation.state.getSegmentation(this.segmentationId);
    for (const { name, value, color } of classes) {
      try {
        if (!segmentation.segments[value]) {
          service.addSegment(this.segmentationId, { segmentIndex: value, label: name, color: [...color, 255] });
        }
        if (segmentation.segments[value].label !== name) service.setSegmentLabel(this.segmentationId, value, name);
        service.setSegmentColor(this.viewportId, this.segmentationId, value, [...color, 255]);
      } catch {
        /* a colour is not worth an error */
      }
    }
  }

  choose(value: number): void {
    host.services.segmentationService.setActiveSegment(this.segmentationId, value);
  }

  get depth(): number {
    return this.arrays.length;
  }

  get sliceSize(): number {
    return this.arrays[0]?.length ?? 0;
  }

  slice(k: number): Uint8Array {
    return this.arrays[k];
  }

  /** Slice k of a whole volume. */
  part(voxels: Uint8Array, k: number): Uint8Array {
    return voxels.subarray(k * this.sliceSize, (k + 1) * this.sliceSize);
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

  /** Pixel (i, j) of a point in space on slice k. */
  pixel(world: number[], k: number): [number, number] {
    const plane = this.planes[k];
    const from = world.map((v, axis) => v - plane.position[axis]);
    return [Math.round(dot(from, plane.row) / plane.spacing[0]), Math.round(dot(from, plane.column) / plane.spacing[1])];
  }

  world(i: number, j: number, k: number): number[] {
    const { position, row, column, spacing } = this.planes[k];
    return position.map((v, axis) => v + row[axis] * spacing[0] * i + column[axis] * spacing[1] * j);
  }

  /** Place of slice k along the viewer's slider, 0 at its top. */
  frameOf(k: number): number {
    return this.frames[k];
  }

  jump(k: number): void {
    const viewport = viewportOf(this.viewportId);
    if (!viewport) return;
    const now = active();
    const shown = now?.viewportId === this.viewportId ? viewport.getImageIds?.() : null;
    const wanted = this.planes[k].position;
    let imageIndex = this.frames[k];
    if (shown?.length === this.depth) {
      const found = shown.findIndex((id: string) => {
        const { position, normal } = planeOf(id);
        return Math.abs(dot(position.map((v, axis) => v - wanted[axis]), normal)) < 1e-3;
      });
      if (found >= 0) imageIndex = found;
    }
    cornerstone().utilities.jumpToSlice(viewport.element, { imageIndex });
  }

  /** Voxels of all slices, i fastest, k in ITK's order. */
  all(): Uint8Array {
    const voxels = new Uint8Array(this.depth * this.sliceSize);
    this.arrays.forEach((array, k) => voxels.set(array, k * this.sliceSize));
    return voxels;
  }

  /** Note whose labels the clean slices show: submission by slice, as the server has them. */
  saw(submissions: Record<string, number>, slices?: number[]): void {
    for (let k = 0; k < this.depth; k++) {
      if (slices ? slices.includes(k) : !this.dirty.has(k)) this.seen[k] = submissions[k] ?? 0;
    }
  }

  /** Slices that somebody else submitted since they came here. */
  outdated(submissions: Record<string, number>): number[] {
    return this.seen.flatMap((id, k) => (id === (submissions[k] ?? 0) ? [] : [k]));
  }

  /** Put slices in place; by hand ones become dirty, and each call is one step of undo unless it comes from elsewhere. */
  write(slices: Map<number, Uint8Array>, byHand: boolean, undoable = true): void {
    const changes: Change[] = [];
    for (const [k, values] of slices) {
      if (same(this.arrays[k], values)) continue;
      changes.push({ k, before: this.shadow[k].slice() });
      this.arrays[k].set(values);
      this.shadow[k].set(values);
      if (byHand) this.dirty.add(k);
    }
    if (undoable) this.remember(changes);
    this.redraw(changes.map(change => change.k));
  }

  /** Put a whole volume in place, but for the slices that were drawn on since. */
  fill(voxels: Uint8Array, submissions: Record<string, number>, undoable = true): void {
    if (voxels.length !== this.depth * this.sliceSize) {
      throw new Error('The answer does not fit this series; reload the page.');
    }
    const slices = new Map<number, Uint8Array>();
    for (let k = 0; k < this.depth; k++) {
      if (!this.dirty.has(k)) slices.set(k, this.part(voxels, k));
    }
    this.write(slices, false, undoable);
    this.saw(submissions);
  }

  undo(): boolean {
    this.commit();
    const changes = this.undoStack.pop();
    if (!changes) return false;
    for (const { k, before } of changes) {
      this.arrays[k].set(before);
      this.shadow[k].set(before);
      this.dirty.add(k);
    }
    this.redraw(changes.map(change => change.k));
    this.onStroke(changes.map(change => change.k));
    return true;
  }

  get steps(): number {
    return this.undoStack.length;
  }

  close(): void {
    this.ended = true;
    window.clearTimeout(this.timer);
    this.unsubscribe.forEach(end => end());
  }

  /** Take what was drawn since the last look as one step. */
  commit(): void {
    if (this.ended) return;
    const changes: Change[] = [];
    this.arrays.forEach((array, k) => {
      if (same(array, this.shadow[k])) return;
      changes.push({ k, before: this.shadow[k].slice() });
      this.shadow[k].set(array);
      this.dirty.add(k);
    });
    if (!changes.length) return;
    this.remember(changes);
    this.onStroke(changes.map(change => change.k));
  }

  private remember(changes: Change[]): void {
    if (!changes.length) return;
    this.undoStack.push(changes);
    if (this.undoStack.length > UNDO_STEPS) this.undoStack.shift();
  }

  private redraw(slices: number[]): void {
    if (!slices.length) return;
    const frames = slices.map(k => this.frames[k]);
    tools().segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.segmentationId, frames);
  }

  private findVoxels(): void {
    const segmentation = tools().segmentation.state.getSegmentation(this.segmentationId);
    const imageIds: string[] = segmentation.representationData.Labelmap.imageIds;
    const found = imageIds.map((id, frame) => {
      const image = cornerstone().cache.getImage(id);
      const plane = planeOf(image.referencedImageId ?? id);
      return { frame, plane, array: image.voxelManager.getScalarData() as Uint8Array };
    });
    found.sort((a, b) => dot(a.plane.position, a.plane.normal) - dot(b.plane.position, a.plane.normal));
    this.arrays = found.map(one => one.array);
    this.frames = found.map(one => one.frame);
    this.planes.push(...found.map(one => one.plane));
    this.shadow = this.arrays.map(array => array.slice());
    this.seen.push(...this.arrays.map(() => 0));
  }

  private listen(): void {
    const later = (): void => {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => (this.pressed ? later() : this.commit()), 120);
    };
    const modified = (event: Any): void => {
      if (!event.detail?.segmentationId || event.detail.segmentationId === this.segmentationId) later();
    };
    const name = tools().Enums.Events.SEGMENTATION_DATA_MODIFIED;
    cornerstone().eventTarget.addEventListener(name, modified);
    const down = (): void => void (this.pressed = true);
    const up = (): void => {
      this.pressed = false;
      later();
    };
    window.addEventListener('mousedown', down, true);
    window.addEventListener('mouseup', up, true);
    this.unsubscribe.push(() => {
      cornerstone().eventTarget.removeEventListener(name, modified);
      window.removeEventListener('mousedown', down, true);
      window.removeEventListener('mouseup', up, true);
    });
  }
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
