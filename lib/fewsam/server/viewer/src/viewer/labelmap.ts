/** The labelmap of one series in the viewer: its voxels follow the session, and strokes in it become the session's. */

import { Geometry } from './geometry';
import { type Plane, cornerstone, dot, host, planeOf, tools } from './ohif';
import { LOOK, type Look, colourOf } from '../model/look';
import { type Head, Session } from '../model/session';
import { Pixels, same } from '../model/slices';
import { Structures } from '../model/structures';
import type { Unfollowed } from './unfollowed';

type Any = any;

const RECOVERIES = 20; // tries; a slow machine takes seconds to load a viewport
const RECOVERY_PAUSE = 400; // ms between two of them

/** The browser's name for this page: drafts of each page are kept apart. */
const page = Math.random().toString(36).slice(2, 10);

export class Labelmap {
  readonly segmentationId: string;
  readonly displaySetId: string;
  session!: Session; // once the labelmap is made
  geometry!: Geometry;
  onStroke: (slices: number[]) => void = () => {};

  private arrays: Pixels[] = []; // the viewer's own, by k
  private look: Look = LOOK;
  private timer = 0;
  private pressed = false;
  private lost = false; // the viewer lost it, and what was drawn is not in its new one yet
  private ended = false;
  private unsubscribe: (() => void)[] = [];

  private constructor(
    readonly series: string,
    readonly viewportId: string,
    private displaySet: Any,
    private structures: Structures,
    private unfollowed: Unfollowed,
  ) {
    this.displaySetId = displaySet.displaySetInstanceUID;
    this.segmentationId = idOf(this.displaySetId);
  }

  static async open(viewportId: string, displaySet: Any, structures: Structures, unfollowed: Unfollowed): Promise<Labelmap> {
    const map = new Labelmap(displaySet.SeriesInstanceUID, viewportId, displaySet, structures, unfollowed);
    map.listen(); // a stroke may be under way by the time it is made
    try {
      await map.create();
    } catch (error) {
      map.close();
      throw error;
    }
    const [depth, size] = [map.arrays.length, map.arrays[0]?.length ?? 0];
    map.session = new Session(map.series, structures, depth, size, localStorage, page);
    return map;
  }

  /** Open the session and show it. What was drawn since the series was left last is its first stroke; slices of drafts. */
  follow(voxels: Pixels, head: Head): number[] {
    const drafts = this.session.open(voxels, head);
    const former = this.unfollowed.of(this.segmentationId);
    const more = former && !former.kept ? this.session.takeOver(former) : []; // the browser's store was full
    this.takeStrokes();
    return [...new Set([...drafts, ...more])];
  }

  /** The labelmap is no longer followed; what is drawn in it from here on is found when it is followed again. */
  leave(): void {
    this.commit();
    if (this.session.opened && !this.lost && segmentationOf(this.segmentationId)) this.unfollowed.leave(this.segmentationId, this.session);
    this.session.keep(true);
    this.close();
  }

  /**
   * Keep in the browser what was drawn in labelmaps since their series were left, but for the one that is open again;
   * false where its store is full.
   */
  static keepStrokes(unfollowed: Unfollowed, open?: Labelmap | null): boolean {
    const kept = unfollowed.sessions(open?.segmentationId).map(([id, former]) => {
      if (segmentationOf(id)) former.draw(unfollowed.drawn(id, voxelsOf(id).map(one => one.array), k => former.slices.shown(k)));
      return former.keep(true);
    });
    return kept.every(Boolean);
  }

  private takeStrokes(): void {
    const { slices } = this.session;
    this.session.draw(this.unfollowed.drawn(this.segmentationId, this.arrays, k => slices.shown(k)));
    this.render(this.arrays.map((_, k) => k));
  }

  /** Whether the viewer still has the labelmap and shows it; its own list of segmentations has a Delete. */
  get intact(): boolean {
    return Boolean(segmentationOf(this.segmentationId)?.representationData?.Labelmap) && this.isShown !== false;
  }

  /** Whether the viewport shows it; undefined where the viewer does not tell. */
  private get isShown(): boolean | undefined {
    const shown = host.services.segmentationService.getSegmentationRepresentations?.(this.viewportId) as Any[] | undefined;
    const type = tools().Enums.SegmentationRepresentations.Labelmap;
    return shown?.some(one => one.segmentationId === this.segmentationId && one.type === type);
  }

  /** Make it anew after the viewer lost it, with what was drawn: again while the viewer is still loading the viewport. */
  async recover(): Promise<void> {
    for (let left = RECOVERIES; ; left--) {
      try {
        return await this.restore();
      } catch (error) {
        if (this.ended || left <= 1) throw error;
        await new Promise(done => window.setTimeout(done, RECOVERY_PAUSE));
      }
    }
  }

  private async restore(): Promise<void> {
    this.lost ||= !segmentationOf(this.segmentationId);
    if (!this.lost) return this.show();
    await this.create();
    if (this.ended) return;
    this.lost = false;
    this.takeStrokes(); // there may be some already
  }

  /** Show it in the viewport, also again after the viewport changed, and have tools draw in it. */
  async show(): Promise<void> {
    const service = host.services.segmentationService;
    const type = tools().Enums.SegmentationRepresentations.Labelmap;
    try {
      await service.addSegmentationRepresentation(this.viewportId, { segmentationId: this.segmentationId, type });
    } catch (error) {
      if (!this.isShown) throw error; // else it is shown, and a part of the viewer that was told so threw
    }
    this.activate();
  }

  activate(): void {
    try {
      host.services.segmentationService.setActiveSegmentation?.(this.viewportId, this.segmentationId);
    } catch {
      /* a part of the viewer that was told so threw; whether it is active is looked at again and again */
    }
  }

  /** Whether the viewer's tools draw in this labelmap, and not in another segmentation that was opened since. */
  get isActive(): boolean {
    const active = host.services.segmentationService.getActiveSegmentation?.(this.viewportId);
    return !active || active.segmentationId === this.segmentationId;
  }

  /** Whether each structure has its segment in the viewer, whose own list has a Delete for each. */
  get whole(): boolean {
    const segments = segmentationOf(this.segmentationId)?.segments ?? {};
    return this.structures.known.every(one => segments[one.value]);
  }

  /** Give each structure its segment in the viewer, with name and colour. */
  segments(): void {
    const service = host.services.segmentationService;
    const segmentation = segmentationOf(this.segmentationId);
    if (!segmentation) return;
    // Also deleted ones: the viewer's own button would give their values, and with them their names, to new segments.
    for (const { name, value, color } of this.structures.known) {
      try {
        if (!segmentation.segments[value]) {
          service.addSegment(this.segmentationId, { segmentIndex: value, label: name, color: [...color, 255] });
        }
        if (segmentation.segments[value].label !== name) service.setSegmentLabel(this.segmentationId, value, name);
      } catch {
        /* a name in the viewer's own list is not worth an error */
      }
    }
    this.dress(this.look);
  }

  /** Colours, opacity and outline; which structures are hidden, and which ones the viewer's tools leave alone. */
  dress(look: Look): void {
    this.look = look;
    const service = host.services.segmentationService;
    const { viewportId, segmentationId } = this;
    const type = tools().Enums.SegmentationRepresentations.Labelmap;
    const style = { renderFill: true, fillAlpha: look.opacity, renderOutline: look.outline > 0, outlineWidth: look.outline };
    try {
      service.setStyle({ type, segmentationId }, style);
      for (const one of this.structures.all) {
        service.setSegmentColor(viewportId, segmentationId, one.value, [...colourOf(look, one), 255]);
        service.setSegmentVisibility(viewportId, segmentationId, one.value, !look.hidden.includes(one.value), type);
        service.setSegmentLocked(segmentationId, one.value, look.locked.includes(one.value));
      }
    } catch {
      /* how something looks is not worth an error */
    }
  }

  /** Segments that the viewer's own button added: value and the viewer's name. */
  strangers(): { value: number; label: string }[] {
    const segments: Any[] = Object.values(segmentationOf(this.segmentationId)?.segments ?? {});
    const found = segments.filter(one => one && !this.structures.of(one.segmentIndex));
    return found.map(one => ({ value: one.segmentIndex, label: one.label || `Segment ${one.segmentIndex}` }));
  }

  choose(value: number): void {
    const segments = segmentationOf(this.segmentationId)?.segments;
    if (segments?.[value]) host.services.segmentationService.setActiveSegment(this.segmentationId, value);
  }

  /** The segment that the viewer's tools draw; null where there is none. */
  get chosen(): number | null {
    const segments: Any[] = Object.values(segmentationOf(this.segmentationId)?.segments ?? {});
    return segments.find(one => one?.active)?.segmentIndex ?? null;
  }

  /** Wait until no stroke is being drawn: half of one is no step, and nothing is put under it. */
  async released(): Promise<void> {
    while (this.drawing) await new Promise(done => window.setTimeout(done, 50));
  }

  /** Whether the mouse is down. */
  get drawing(): boolean {
    return this.pressed;
  }

  /** Take what was drawn since the last look as one step. */
  commit(): number[] {
    // The viewer keeps a labelmap that was left: before the session is opened, its labels would all seem drawn.
    if (this.ended || this.lost || !this.session?.opened || !segmentationOf(this.segmentationId)) return [];
    const slices = new Map<number, Pixels>();
    this.arrays.forEach((array, k) => {
      if (!same(array, this.session.slices.shown(k))) slices.set(k, array);
    });
    if (!slices.size) return [];
    const changed = this.session.draw(slices);
    if (changed.length) this.onStroke(changed);
    return changed;
  }

  /** Show what the session has of slices. */
  render(slices: number[]): void {
    if (this.ended || this.lost || !slices.length) return; // the viewer's voxels may be those of a newer labelmap by now
    slices.forEach(k => this.arrays[k].set(this.session.slices.shown(k)));
    const frames = slices.map(k => this.geometry.imageOf(k));
    tools().segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.segmentationId, frames);
  }

  close(): void {
    this.ended = true;
    this.pressed = false; // nothing hears any more that the button is released
    window.clearTimeout(this.timer);
    this.unsubscribe.forEach(end => end());
  }

  private async create(): Promise<void> {
    const service = host.services.segmentationService;
    if (!segmentationOf(this.segmentationId)) {
      const segments: Record<number, Any> = {};
      for (const { name, value } of this.structures.known) {
        segments[value] = { segmentIndex: value, label: name, active: value === 1, locked: false };
      }
      const options = { segmentationId: this.segmentationId, label: 'fewsam', segments };
      await service.createLabelmapForDisplaySet(this.displaySet, options);
      this.unfollowed.made(this.segmentationId);
    }
    await this.show();
    this.findVoxels();
    this.segments();
  }

  private findVoxels(): void {
    const found = voxelsOf(this.segmentationId);
    this.arrays = found.map(one => one.array);
    const frames = found.map(one => one.frame);
    this.geometry = new Geometry(this.viewportId, found.map(one => one.plane), frames);
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
    const moved = (event: MouseEvent): void => {
      if (this.pressed && !event.buttons) up(); // it was released outside of the window
    };
    window.addEventListener('mousedown', down, true);
    window.addEventListener('mouseup', up, true);
    window.addEventListener('mousemove', moved, true);
    this.unsubscribe.push(() => {
      cornerstone().eventTarget.removeEventListener(name, modified);
      window.removeEventListener('mousedown', down, true);
      window.removeEventListener('mouseup', up, true);
      window.removeEventListener('mousemove', moved, true);
    });
  }
}

function idOf(displaySetInstanceUID: string): string {
  return `fewsam-${displaySetInstanceUID}`;
}

/** The viewer's own voxels of a labelmap, by k, each with its place among the viewer's images. */
function voxelsOf(segmentationId: string): { frame: number; plane: Plane; array: Pixels }[] {
  const imageIds: string[] = segmentationOf(segmentationId).representationData.Labelmap.imageIds;
  const found = imageIds.map((id, frame) => {
    const image = cornerstone().cache.getImage(id);
    const plane = planeOf(image.referencedImageId ?? id);
    return { frame, plane, array: image.voxelManager.getScalarData() as Pixels };
  });
  return found.sort((a, b) => dot(a.plane.position, a.plane.normal) - dot(b.plane.position, a.plane.normal));
}

function segmentationOf(id: string): Any {
  return tools().segmentation.state.getSegmentation(id);
}
