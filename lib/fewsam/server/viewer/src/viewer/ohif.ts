/** The few things of OHIF and cornerstone that the panel uses, in one place: their shapes differ by version. */

type Any = any;

export const host: { services: Any; commands: Any; extensions: Any } = { services: null, commands: null, extensions: null };
export const cornerstone = (): Any => (window as Any).cornerstone;
export const tools = (): Any => (window as Any).cornerstoneTools;

export const dot = (a: number[], b: number[]): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** Whether the viewer has something that shows objects of a kind as an image. */
export function shows(sopClass: string): boolean {
  const modules: Any[] = host.extensions?.getActiveDataSource ? (host.extensions.modules?.sopClassHandlerModule ?? []) : [];
  const handlers = modules.flatMap(({ module }) => module ?? []).filter((one: Any) => /stack/i.test(one?.name ?? ''));
  return !handlers.length || handlers.some((one: Any) => one.sopClassUids?.includes(sopClass));
}

/** Cornerstone's viewport, once it shows something. */
export function viewportOf(viewportId: string): Any | null {
  try {
    return host.services.cornerstoneViewportService.getCornerstoneViewport(viewportId) ?? null;
  } catch {
    return null;
  }
}

/** Bring our panel to the front: 3.12 shows its own as soon as there is a segmentation. Not once a person chose another one. */
export function showPanel(id: string): void {
  const bring = (): void => host.services.panelService?.activatePanel?.(id, true);
  const timers = [0, 500, 1500].map(later => window.setTimeout(bring, later));
  const chosen = ({ target }: Event): void => {
    if ((target as Element | null)?.closest?.('[data-cy$="-btn"]')) timers.forEach(timer => window.clearTimeout(timer));
  };
  window.addEventListener('pointerdown', chosen, true);
  window.setTimeout(() => window.removeEventListener('pointerdown', chosen, true), 2000);
}

export function useTool(viewportId: string, toolName: string): void {
  const group = host.services.toolGroupService.getToolGroupForViewport(viewportId);
  if (group) host.commands.run('setToolActiveToolbar', { toolName, toolGroupIds: [group.id] });
}

export function brushSize(radius: number): void {
  const toolNames = ['CircularBrush', 'CircularEraser', 'ThresholdCircularBrushDynamic'];
  host.commands.run('setBrushSize', { value: radius, toolNames });
}

/** A slice as it lies in space. */
export interface Plane {
  position: number[];
  row: number[];
  column: number[];
  normal: number[];
  spacing: [number, number]; // mm between columns, between rows
  columns: number;
  rows: number;
}

export function planeOf(imageId: string): Plane {
  const plane = cornerstone().metaData.get('imagePlaneModule', imageId) ?? {};
  const vector = (v: Any, otherwise: number[]): number[] => (v ? Array.from(v as number[], Number) : otherwise);
  const row = vector(plane.rowCosines, [1, 0, 0]);
  const column = vector(plane.columnCosines, [0, 1, 0]);
  const normal = [
    row[1] * column[2] - row[2] * column[1],
    row[2] * column[0] - row[0] * column[2],
    row[0] * column[1] - row[1] * column[0],
  ];
  return {
    position: vector(plane.imagePositionPatient, [0, 0, 0]),
    row,
    column,
    normal,
    spacing: [Number(plane.columnPixelSpacing ?? 1), Number(plane.rowPixelSpacing ?? 1)],
    columns: plane.columns,
    rows: plane.rows,
  };
}
