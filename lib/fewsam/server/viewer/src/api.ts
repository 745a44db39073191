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
  const made = `ohif-${Math.random().toString(36).slice(2, 10)}`;
  try {
    const id = sessionStorage.getItem('fewsam.client') ?? made;
    sessionStorage.setItem('fewsam.client', id);
    return id;
  } catch {
    return made; // its store is full: the next page is another one
  }
})();

/** A request with the name of who makes it, where the browser knows one. */
function signed(init: RequestInit = {}): RequestInit {
  const name = storedName();
  return name ? { ...init, headers: { ...init.headers, 'x-annotator': encodeURIComponent(name) } } : init;
}

const [SHORT, LONG] = [30_000, 600_000]; // ms: a look at the server, and what it works on

/** Ask, and ``read`` the answer, all of which has to be there after ``wait``. */
async function ask<T>(path: string, read: (answer: Response) => Promise<T>, init?: RequestInit, wait = init ? LONG : SHORT): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(base + path, { ...signed(init), signal: AbortSignal.timeout(wait) });
    if (answer.ok) return await read(answer);
  } catch {
    throw new Error('The server does not answer. What you drew stays here; try again when it is back.');
  }
  const body = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
  const detail = typeof body.detail === 'string' ? body.detail : JSON.stringify(body.detail ?? body);
  throw new Refusal(detail, answer.status, body);
}

const told = (path: string, init?: RequestInit, wait?: number): Promise<any> => ask(path, answer => answer.json(), init, wait);

const done = (path: string, init: RequestInit): Promise<void> => ask(path, async () => {}, init);

async function framed(path: string, init?: RequestInit, wait?: number): Promise<Voxels> {
  const bytes = new Uint8Array(await ask(path, answer => answer.arrayBuffer(), init, wait));
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { head, voxels: bytes.subarray(4 + length) };
}

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

/** ``slice``: the one on the screen, which the server encodes before the others; without it, the series is being opened. */
export const getState = async (image?: string, slice?: number): Promise<State> => {
  const about = { ...(image && { image }), ...(image && slice !== undefined && { slice: String(slice) }) };
  return told(`/fewsam/state?${new URLSearchParams(about)}`, undefined, image && slice === undefined ? LONG : SHORT);
};

/** Of a series that may have to be opened first. */
export const getLabelmap = (image: string): Promise<Voxels> =>
  framed(`/fewsam/labelmap?image=${encodeURIComponent(image)}`, undefined, LONG);

/** ``head.unencoded`` names the slices that the encoder has not been over yet: their answer will be better. */
export const segment = (image: string, slice: number): Promise<Voxels> =>
  framed(`/fewsam/segment?${new URLSearchParams({ image, slice: String(slice) })}`, { method: 'POST' });

export const correct = (body: unknown): Promise<Voxels> => framed('/fewsam/clicks', json(body));

/** What all prompts of a structure change; ``head.slices`` names the slices of the planes. */
export const prompts = (body: unknown): Promise<Voxels> => framed('/fewsam/prompts', json(body));

export interface Asked {
  image: string;
  skip: number[]; // slices of the open series that the person does not want now
  leave: boolean; // whether another series will do
  unshown: string[]; // series that the viewer cannot show
}

export const next = (asked: Asked): Promise<Offer> =>
  told('/fewsam/next', json({ client_id: client, ...asked }));

export const train = (): Promise<void> => done('/train/segmentation', json({}));

/** Have the served model learn from images that nobody labelled too; it takes minutes. */
export const improve = (): Promise<void> => done('/train/segmentation', json({ unlabelled: true }));

export const stopTraining = (): Promise<void> => done('/train/', { method: 'DELETE' });

// -- structures: each answers with all of them

export const addStructure = (name: string): Promise<Named[]> => told('/fewsam/structures', json({ name }));

export const renameStructure = (id: string, name: string): Promise<Named[]> =>
  told('/fewsam/structures/rename', json({ id, name }));

export const deleteStructure = (id: string): Promise<Named[]> =>
  told('/fewsam/structures/delete', json({ id }));

// -- labels

/** What a person has answered. */
export interface Agreed {
  /** Slice -> the newer submission that they were asked about. */
  asked: Record<string, number>;
  /** Whether it stays, with this label beside it; else this label replaces it. */
  both: boolean;
  /** Labelled slices of which they said that nothing is there. */
  empty: number[];
}

export async function submit(image: string, { voxels, content_hash, label_info, drawn, ...said }: Submission, agreed: Agreed): Promise<any> {
  const form = new FormData();
  const empty = [...said.empty, ...agreed.empty];
  const { asked, both } = agreed;
  const slices = Object.keys(asked).map(Number);
  const [replace, beside] = both ? [[], slices] : [slices, []];
  const about = { content_hash, label_info, client_id: client, drawn, replace, beside, asked, empty, silent: said.silent };
  form.append('params', JSON.stringify(about));
  form.append('label', new Blob([voxels as BlobPart]), 'label.bin');
  return told(`/fewsam/label?image=${encodeURIComponent(image)}`, { method: 'PUT', body: form });
}

export const history = (image: string, slice: number): Promise<Shot[]> =>
  told(`/fewsam/history?${new URLSearchParams({ image, slice: String(slice) })}`);

/** One slice as it was labelled once. */
export const shot = (image: string, number: number): Promise<Voxels> =>
  framed(`/fewsam/shot?${new URLSearchParams({ image, shot: String(number) })}`);

/** Take back what was said of a slice; its label stays in the history. */
export const unlabel = (image: string, slice: number, seen: number): Promise<void> =>
  done('/fewsam/unlabel', json({ image, slice, seen, client_id: client }));

// -- the worklist, and results

export const worklist = (): Promise<Worklist> => told('/fewsam/worklist');

/** What is said of a series; ``seen``: the mark that the person saw, ``labels``: the submission of each labelled slice. */
export interface Said {
  image: string;
  state: string;
  note: string;
  seen: number;
  labels?: Record<string, number>;
}

export const mark = (said: Said): Promise<void> => done('/fewsam/worklist/mark', json({ ...said, client_id: client }));

export const review = (said: Said): Promise<void> => done('/fewsam/worklist/review', json({ ...said, client_id: client }));

/** Labels that are kept beside the ones in force, by slice. */
export const readings = (image: string): Promise<ReadSlice[]> =>
  told(`/fewsam/readings?${new URLSearchParams({ image })}`);

/** One slice as a second reader labelled it. */
export const reading = (image: string, number: number): Promise<Voxels> =>
  framed(`/fewsam/reading?${new URLSearchParams({ image, reading: String(number) })}`);

/** Put a reading in force; ``seen``: the submission in force that the reviewer saw. */
export const adopt = (image: string, number: number, seen: number): Promise<void> =>
  done('/fewsam/reading/adopt', json({ image, reading: number, seen, client_id: client }));

export const resultAddress = (image: string, format: string): string =>
  `${base}/fewsam/result?${new URLSearchParams({ image, format })}`;

export const tableAddress = (): string => `${base}/fewsam/volumes.csv`;
