/** Calls to the server. Every refusal becomes an Error whose message a person can read. */

import { type ReadSlice, type Worklist, storedName } from './lab';
import { Submission } from './model/session';
import { Named } from './model/structures';

export interface ImageState {
  id: string;
  slices: number;
  /** Whether the encoder has been over all slices. */
  encoded: boolean;
  /** What is odd about the image. */
  notes: string[];
  labelled: number[];
  counts: Record<string, number>;
  uncertainty: number[];
  /** Submission that each labelled slice is of. */
  submissions: Record<string, number>;
}

export interface CurvePoint {
  submission: number;
  model_version: number;
  dice: Record<string, number>;
}

export interface State {
  /** Whom the server takes this browser's person for, and whether it wants to be told. */
  person?: string;
  ask_name?: boolean;
  structures: Named[];
  deleted: { id: string; name: string }[];
  new_labels: boolean;
  model_version: number;
  trained: boolean;
  training: {
    running?: boolean;
    state?: string;
    kind?: string; // 'unlabelled' where images that nobody labelled are learnt from
    epoch?: number;
    total_epochs?: number;
    /** Steps so far while it runs, and at its end. */
    step?: number;
    steps?: number;
    seconds?: number;
    /** What ends a run, whichever comes first. */
    limits?: { steps: number; train_seconds: number };
    /** Dice on the slices held back, and that of what was served before; null where it cannot be compared. */
    best_metric?: number;
    previous_metric?: number | null;
    measured_on?: number[];
    error?: string;
    waiting_for?: string;
    published?: boolean;
    notes?: string[];
  };
  curve: CurvePoint[];
  problems: { file: string; problem: string }[];
  encoder: { name?: string; trained?: boolean };
  /** What the server encodes in the background: views of labelled slices first, then images. */
  encoding?: {
    state: string;
    image?: string;
    slices_done?: number;
    slices_total?: number;
    views?: { done: number; total: number };
    error?: string;
  };
  pacs?: { problem: string; waiting: number };
  image?: ImageState;
}

/** The slice to label next; without ``id`` none, and ``left`` slices of the open series are not labelled. */
export interface Offer {
  id?: string;
  study?: string;
  slice?: number;
  sop_class?: string;
  left?: number;
}

/** What a slice was labelled as, at some time. */
export interface Shot {
  shot: number;
  time: string;
  annotator: string;
  source: string;
  structures: string[];
  withdrawn: boolean;
  current: boolean;
}

export interface Voxels {
  head: any;
  voxels: Uint8Array;
}

/** What the server says no to, with all that it says. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly body: any,
  ) {
    super(message);
  }
}

// app-config.js comes from <prefix>/ohif/app-config.js: the server is what stands before.
const script = typeof document === 'undefined' ? null : (document.currentScript as HTMLScriptElement | null);
export const base = (script?.src ?? globalThis.location?.href ?? '').replace(/\/ohif\/.*$/, '');

export const client = (() => {
  if (typeof sessionStorage === 'undefined') return '';
  let id = sessionStorage.getItem('fewsam.client');
  if (!id) sessionStorage.setItem('fewsam.client', (id = `ohif-${Math.random().toString(36).slice(2, 10)}`));
  return id;
})();

/** A request with the name of who makes it, where the browser knows one. */
function signed(init: RequestInit = {}): RequestInit {
  const name = storedName();
  return name ? { ...init, headers: { ...init.headers, 'x-annotator': encodeURIComponent(name) } } : init;
}

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(base + path, signed(init));
  } catch {
    throw new Error('The server does not answer. What you drew stays here; try again when it is back.');
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
  const detail = typeof body.detail === 'string' ? body.detail : JSON.stringify(body.detail ?? body);
  throw new Refusal(detail, answer.status, body);
}

async function framed(answer: Response): Promise<Voxels> {
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { head, voxels: bytes.subarray(4 + length) };
}

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

/** ``slice``: the one on the screen, which the server encodes before the others. */
export const getState = async (image?: string, slice?: number): Promise<State> => {
  const about = { ...(image && { image }), ...(image && slice !== undefined && { slice: String(slice) }) };
  return (await ask(`/fewsam/state?${new URLSearchParams(about)}`)).json();
};

export const getLabelmap = async (image: string): Promise<Voxels> =>
  framed(await ask(`/fewsam/labelmap?image=${encodeURIComponent(image)}`));

/** ``head.unencoded`` names the slices that the encoder has not been over yet: their answer will be better. */
export const segment = async (image: string, slice: number): Promise<Voxels> =>
  framed(await ask(`/fewsam/segment?${new URLSearchParams({ image, slice: String(slice) })}`, { method: 'POST' }));

export const correct = async (body: unknown): Promise<Voxels> => framed(await ask('/fewsam/clicks', json(body)));

/** What all prompts of a structure change; ``head.slices`` names the slices of the planes. */
export const prompts = async (body: unknown): Promise<Voxels> => framed(await ask('/fewsam/prompts', json(body)));

export interface Asked {
  image: string;
  skip: number[]; // slices of the open series that the person does not want now
  leave: boolean; // whether another series will do
  unshown: string[]; // series that the viewer cannot show
}

export const next = async (asked: Asked): Promise<Offer> =>
  (await ask('/fewsam/next', json({ client_id: client, ...asked }))).json();

export const train = async (): Promise<void> => void (await ask('/train/segmentation', json({})));

/** Have the served model learn from images that nobody labelled too; it takes minutes. */
export const improve = async (): Promise<void> => void (await ask('/train/segmentation', json({ unlabelled: true })));

export const stopTraining = async (): Promise<void> => void (await ask('/train/', { method: 'DELETE' }));

// -- structures: each answers with all of them

export const addStructure = async (name: string): Promise<Named[]> => (await ask('/fewsam/structures', json({ name }))).json();

export const renameStructure = async (id: string, name: string): Promise<Named[]> =>
  (await ask('/fewsam/structures/rename', json({ id, name }))).json();

export const deleteStructure = async (id: string): Promise<Named[]> =>
  (await ask('/fewsam/structures/delete', json({ id }))).json();

// -- labels

/** ``replace``: slices whose newer label may go; ``beside``: whose newer label stays, with this one kept beside it; ``empty``: labelled slices of which a person said that nothing is there. */
export interface Agreed {
  replace: number[];
  beside?: number[];
  empty: number[];
}

export async function submit(image: string, { voxels, label_info, drawn, ...said }: Submission, agreed: Agreed): Promise<any> {
  const form = new FormData();
  const empty = [...said.empty, ...agreed.empty];
  const { replace, beside = [] } = agreed;
  form.append('params', JSON.stringify({ label_info, client_id: client, drawn, replace, beside, empty, silent: said.silent }));
  form.append('label', new Blob([voxels as BlobPart]), 'label.bin');
  return (await ask(`/fewsam/label?image=${encodeURIComponent(image)}`, { method: 'PUT', body: form })).json();
}

export const history = async (image: string, slice: number): Promise<Shot[]> =>
  (await ask(`/fewsam/history?${new URLSearchParams({ image, slice: String(slice) })}`)).json();

/** One slice as it was labelled once. */
export const shot = async (image: string, number: number): Promise<Voxels> =>
  framed(await ask(`/fewsam/shot?${new URLSearchParams({ image, shot: String(number) })}`));

/** Take back what was said of a slice; its label stays in the history. */
export const unlabel = async (image: string, slice: number, seen: number): Promise<void> =>
  void (await ask('/fewsam/unlabel', json({ image, slice, seen, client_id: client })));

// -- the worklist, and results

export const worklist = async (): Promise<Worklist> => (await ask('/fewsam/worklist')).json();

/** What is said of a series; ``seen``: the mark that the person saw, ``labels``: the submission of each labelled slice. */
export interface Said {
  image: string;
  state: string;
  note: string;
  seen: number;
  labels?: Record<string, number>;
}

export const mark = async (said: Said): Promise<void> => void (await ask('/fewsam/worklist/mark', json({ ...said, client_id: client })));

export const review = async (said: Said): Promise<void> => void (await ask('/fewsam/worklist/review', json({ ...said, client_id: client })));

/** Labels that are kept beside the ones in force, by slice. */
export const readings = async (image: string): Promise<ReadSlice[]> =>
  (await ask(`/fewsam/readings?${new URLSearchParams({ image })}`)).json();

/** One slice as a second reader labelled it. */
export const reading = async (image: string, number: number): Promise<Voxels> =>
  framed(await ask(`/fewsam/reading?${new URLSearchParams({ image, reading: String(number) })}`));

/** Put a reading in force; ``seen``: the submission in force that the reviewer saw. */
export const adopt = async (image: string, number: number, seen: number): Promise<void> =>
  void (await ask('/fewsam/reading/adopt', json({ image, reading: number, seen, client_id: client })));

export const resultAddress = (image: string, format: string): string =>
  `${base}/fewsam/result?${new URLSearchParams({ image, format })}`;

export const tableAddress = (): string => `${base}/fewsam/volumes.csv`;
