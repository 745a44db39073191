/** The viewports on the screen: which of them is worked in, and what each shows of a series. */

import { dot, host, planeOf, viewportOf } from './ohif';

type Any = any;

/** What a viewport shows of a series: its slices as they were acquired, planes that cut through them, or the volume in 3D. */
export type View = 'slices' | 'planes' | 'volume';

export interface Shown {
  viewportId: string;
  displaySet: Any;
  view: View;
}

/**
 * The viewport that is worked in, and the image series in it; null while there is none. Where the active one shows no
 * slices as they were acquired, it is another viewport of the same series that does.
 */
export function active(): Shown | null {
  try {
    const state = host.services.viewportGridService.getState();
    const here = shownIn(state.viewports.get(state.activeViewportId), state.activeViewportId);
    if (!here || here.view === 'slices') return here;
    const all: [string, Any][] = [...state.viewports];
    const beside = all.map(([id, viewport]) => shownIn(viewport, id));
    return beside.find(one => one?.view === 'slices' && one.displaySet === here.displaySet) ?? here;
  } catch {
    return null; // nothing is mounted yet
  }
}

/** Whether a series is what is worked with, in a viewport; nothing else is, while nothing is mounted. */
export function isShown(series: string, viewportId: string): boolean {
  const now = active();
  return !now || (now.displaySet.SeriesInstanceUID === series && now.viewportId === viewportId);
}

/**
 * The viewport that an element of the page lies in, and what it shows; null where there is none. A press on a viewport
 * that is not active meets the frame around it, which lies in none.
 */
export function shownAt(target: EventTarget | null): Shown | null {
  try {
    const all: [string, Any][] = [...host.services.viewportGridService.getState().viewports];
    const elements: (Node | undefined)[] = all.map(([id]) => viewportOf(id)?.element);
    const within = elements.map(element => element?.contains(target as Node));
    const around = elements.map(element => (target as Node).contains(element ?? null) && element !== undefined);
    const places = within.includes(true) ? within : around;
    if (places.filter(Boolean).length !== 1) return null;
    const [id, viewport] = all[places.indexOf(true)];
    return shownIn(viewport, id);
  } catch {
    return null;
  }
}

/** What a viewport shows of a series of images; one that is not mounted yet is taken to show its slices. */
export function viewOf(viewportId: string, displaySet: Any): View {
  const viewport = viewportOf(viewportId);
  if (viewport?.type === 'volume3d') return 'volume';
  const sight = viewport?.type === 'orthographic' ? viewport.getCamera?.().viewPlaneNormal : null;
  const first = displaySet.images[0];
  if (!sight || !first?.imageId) return 'slices';
  return Math.abs(dot(sight, planeOf(first.imageId).normal)) > 0.999 ? 'slices' : 'planes';
}

function shownIn(viewport: Any, viewportId: string): Shown | null {
  for (const uid of viewport?.displaySetInstanceUIDs ?? []) {
    const displaySet = host.services.displaySetService.getDisplaySetByUID(uid);
    if (displaySet?.images?.length && displaySet.Modality !== 'SEG') {
      return { viewportId, displaySet, view: viewOf(viewportId, displaySet) };
    }
  }
  return null;
}

/** A stored segmentation that is shown instead of images, by a double click on it; null while images are. */
export function storedSegmentation(): { viewportId: string; displaySet: Any } | null {
  try {
    const state = host.services.viewportGridService.getState();
    const viewport = state.viewports.get(state.activeViewportId);
    const shown = (viewport?.displaySetInstanceUIDs ?? []).map((uid: string) => host.services.displaySetService.getDisplaySetByUID(uid));
    const displaySet = shown.find((one: Any) => one?.Modality === 'SEG');
    return displaySet && !active() ? { viewportId: state.activeViewportId, displaySet } : null;
  } catch {
    return null;
  }
}

/** Show a series in a viewport again, instead of a stored segmentation. */
export function showSeries(viewportId: string, displaySetInstanceUID: string): void {
  host.services.viewportGridService.setDisplaySetsForViewport({ viewportId, displaySetInstanceUIDs: [displaySetInstanceUID] });
}
