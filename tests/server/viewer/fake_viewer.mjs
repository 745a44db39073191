// What stands for OHIF, cornerstone and the server: series of three slices of 2 x 1 pixels in viewports 'one' and 'two'.
import { Opening, Store, Structures, Working, host } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

export const liver = { id: 'liver', name: 'liver', color: [1, 2, 3], slices: 0 };

class MemoryStore {
  values = new Map();
  get length() { return this.values.size; }
  key(n) { return [...this.values.keys()][n] ?? null; }
  getItem(key) { return this.values.get(key) ?? null; }
  setItem(key, value) { this.values.set(key, value); }
  removeItem(key) { this.values.delete(key); }
}

/** A browser with the viewer in it; `show` puts a series into its active viewport. */
export function viewer() {
  const segmentations = {};
  const images = {};
  const grid = { activeViewportId: 'one', viewports: new Map() };
  const displaySetOf = series => ({ SeriesInstanceUID: series, displaySetInstanceUID: series, Modality: 'CT', images: [{}, {}, {}] });
  let listeners = 0;
  class Counted extends EventTarget {
    addEventListener(...given) { listeners++; super.addEventListener(...given); }
    // As a browser takes it: Node 20 knows no boolean here.
    removeEventListener(name, act, capture) { listeners--; super.removeEventListener(name, act, { capture: capture === true }); }
  }
  const eventTarget = new Counted();
  globalThis.window = Object.assign(new Counted(), {
    setTimeout, clearTimeout,
    cornerstone: {
      eventTarget,
      cache: { getImage: id => images[id] },
      metaData: { get: (_, id) => ({ imagePositionPatient: [0, 0, Number(id.at(-1))], columns: 2, rows: 1 }) },
    },
    cornerstoneTools: {
      Enums: { SegmentationRepresentations: { Labelmap: 'Labelmap' }, Events: { SEGMENTATION_DATA_MODIFIED: 'modified' } },
      segmentation: {
        state: { getSegmentation: id => segmentations[id] },
        triggerSegmentationEvents: { triggerSegmentationDataModified() {} },
      },
    },
  });
  const kept = new MemoryStore();
  Object.defineProperty(globalThis, 'localStorage', { value: kept, configurable: true });
  const nothing = new Proxy({}, { get: () => () => {} });
  host.services = {
    viewportGridService: { getState: () => grid },
    displaySetService: { getDisplaySetByUID: displaySetOf },
    cornerstoneViewportService: { getCornerstoneViewport: () => null },
    segmentationService: new Proxy({
      async createLabelmapForDisplaySet({ SeriesInstanceUID: series }, { segmentationId, segments }) {
        const imageIds = [0, 1, 2].map(k => `${series}-${k}`);
        for (const id of imageIds) {
          const pixels = new Uint8Array(2);
          images[id] = { voxelManager: { getScalarData: () => pixels } };
        }
        segmentations[segmentationId] = { segments, representationData: { Labelmap: { imageIds } } };
      },
      addSegment: (id, { segmentIndex, label }) => (segmentations[id].segments[segmentIndex] = { segmentIndex, label }),
      setSegmentLabel: (id, value, label) => (segmentations[id].segments[value].label = label),
      addSegmentationRepresentation: () => made.showing(),
      getSegmentationRepresentations: undefined,
    }, { get: (own, name) => (name in own ? own[name] : nothing[name]) }),
  };
  const made = {
    kept,
    showing: async () => {}, // what comes about while the viewer shows a labelmap
    listeners: () => listeners,
    show: (series, viewportId = 'one') => {
      grid.activeViewportId = viewportId;
      grid.viewports.set(viewportId, { displaySetInstanceUIDs: [series] });
    },
    remove: series => delete segmentations[`fewsam-${series}`], // by the viewer's own list
    segments: series => segmentations[`fewsam-${series}`].segments,
    pixels: (series, k) => images[`${series}-${k}`].voxelManager.getScalarData(),
    press: name => globalThis.window.dispatchEvent(Object.assign(new Event(name), { buttons: name === 'mousedown' ? 1 : 0 })),
  };
  return made;
}

/**
 * A server whose labelmaps are ``labels``, by series, with their ``submissions``; ``on`` is called with the path, the series and the body of each
 * question before its answer, and may answer itself.
 */
export function server(labels, on = async () => {}, submissions = { 0: 7 }) {
  globalThis.fetch = async (url, options) => {
    const [path, query] = String(url).replace(/^.*\/fewsam/, '/fewsam').split('?');
    const series = new URLSearchParams(query).get('image');
    const own = await on(path, series, options?.body);
    if (own) return own;
    if (path === '/fewsam/state') return { ok: true, json: async () => ({ structures: [liver], training: {}, encoder: {} }) };
    const head = { structures: [liver], submissions, drawn: [0], served: false };
    return framed(head, labels[series]);
  };
}

/** An answer that holds voxels. */
export function framed(head, voxels) {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(4 + text.length + voxels.length);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  bytes.set(voxels, 4 + text.length);
  return { ok: true, arrayBuffer: async () => bytes.buffer };
}

/** What the acts of the panel work with. */
export function desk() {
  const said = [];
  const made = {
    store: new Store(), structures: new Structures(), map: null, said,
    say: (text, kind, answers = []) => said.push({ text, kind, answers }),
    keep: () => made.opening?.keep() ?? true,
    show() {}, choose() {}, refresh: async () => {},
    work: (what, todo, of = made.map) => new Working(made).work(what, todo, of),
  };
  return made;
}

export const nothing = { nothing: () => true, opened() {}, left() {} };
export const labels = { ct: [1, 1, 0, 0, 0, 0], mr: [0, 0, 0, 0, 0, 0] };

/** A panel in which the series of slices 1 1, 0 0, 0 0 is open, of which the first one is labelled. */
export async function opened() {
  const [panel, shown] = [desk(), viewer()];
  const opening = (panel.opening = new Opening(panel, nothing));
  server(labels);
  shown.show('ct');
  await opening.follow();
  return { panel, shown, opening };
}

/** Go on to another series, as the panel does it. */
export async function goOn({ shown, opening }, series = 'mr') {
  shown.show(series);
  await opening.follow();
}

/** A promise, and what fulfils it. */
export function gate() {
  let open;
  const opened = new Promise(done => (open = done));
  return { opened, open };
}

export const later = (ms = 0) => new Promise(done => setTimeout(done, ms));
