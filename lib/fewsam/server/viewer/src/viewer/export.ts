/** OHIF's own export of DICOM SEG, mended where the viewer's is broken.
 *
 * 3.10 names no place to store the object, so that storing fails in silence; and it pairs each slice with the position
 * of its mirror image along the series, because it sorts the positions from the last slice to the first and leaves the
 * voxels in the order of the viewer. Newer viewers keep both from last to first.
 */

import { cornerstone, dot, host, planeOf, tools } from './ohif';

type Any = any;

export function mendExport(): void {
  for (const context of Object.values(host.commands.contexts ?? {}) as Any[]) {
    for (const name of ['storeSegmentation', 'downloadSegmentation']) {
      const command = context?.[name];
      if (!command || command.mended) continue;
      const stock = command.commandFn;
      command.mended = true;
      command.commandFn = (options: Any) => {
        const dataSource = options.dataSource ?? host.extensions.getActiveDataSource()[0];
        if (lastToFirst(options.segmentationId)) return stock({ ...options, dataSource });
        if (name === 'storeSegmentation') return store(options.segmentationId, dataSource);
        return ordered(options.segmentationId, () => stock(options));
      };
    }
  }
}

async function store(segmentationId: string, dataSource: Any): Promise<void> {
  const say = (type: string, message: string): void =>
    host.services.uiNotificationService?.show({ title: 'Export DICOM SEG', message, type });
  try {
    const options = { SeriesDescription: 'OHIF export' };
    const made = ordered(segmentationId, () => host.commands.runCommand('generateSegmentation', { segmentationId, options }));
    await dataSource.store.dicom(made.dataset);
    say('success', 'Stored in the PACS.');
  } catch (error) {
    say('error', `Not stored: ${(error as Error).message}`);
  }
}

function labelmapOf(segmentationId: string): Any {
  return tools().segmentation.state.getSegmentation(segmentationId).representationData.Labelmap;
}

/** Place of a labelmap's slice along the normal of the series. */
function place(imageId: string): number {
  const { position, normal } = planeOf(cornerstone().cache.getImage(imageId).referencedImageId ?? imageId);
  return dot(position, normal);
}

function lastToFirst(segmentationId: string): boolean {
  const places = (labelmapOf(segmentationId).imageIds as string[]).map(place);
  return places.every((value, n) => n === 0 || places[n - 1] >= value);
}

/** Do something while the slices are in the order that the export takes them to have. */
function ordered<T>(segmentationId: string, work: () => T): T {
  const labelmap = labelmapOf(segmentationId);
  const imageIds = labelmap.imageIds;
  labelmap.imageIds = [...imageIds].sort((a, b) => place(b) - place(a));
  try {
    return work();
  } finally {
    labelmap.imageIds = imageIds;
  }
}
