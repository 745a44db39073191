/** Calls to the server. Every refusal becomes an Error whose message a person can read. */

export interface ClassInfo {
  name: string;
  value: number;
  color: [number, number, number];
  slices: number;
}

export interface ImageState {
  id: string;
  slices: number;
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
  classes: ClassInfo[];
  palette: [number, number, number][];
  new_labels: boolean;
  model_version: number;
  trained: boolean;
  training: {
    running?: boolean;
    state?: string;
    epoch?: number;
    total_epochs?: number;
    error?: string;
    waiting_for?: string;
    published?: boolean;
    notes?: string[];
  };
  curve: CurvePoint[];
  problems: { file: string; problem: string }[];
  encoder: { name?: string; trained?: boolean };
  pacs?: { problem: string; waiting: number };
  image?: ImageState;
}

export interface Offer {
  id?: string;
  study?: string;
  slice?: number;
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
const script = document.currentScript as HTMLScriptElement | null;
export const base = (script?.src ?? location.href).replace(/\/ohif\/.*$/, '');

export const client = (() => {
  let id = sessionStorage.getItem('fewsam.client');
  if (!id) sessionStorage.setItem('fewsam.client', (id = `ohif-${Math.random().toString(36).slice(2, 10)}`));
  return id;
})();

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(base + path, init);
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

export const getState = async (image?: string): Promise<State> =>
  (await ask(`/fewsam/state${image ? `?image=${encodeURIComponent(image)}` : ''}`)).json();

export const getLabelmap = async (image: string): Promise<Voxels> =>
  framed(await ask(`/fewsam/labelmap?image=${encodeURIComponent(image)}`));

export const segment = async (image: string): Promise<Voxels> =>
  framed(await ask(`/fewsam/segment?image=${encodeURIComponent(image)}`, { method: 'POST' }));

export const correct = async (body: unknown): Promise<Voxels> => framed(await ask('/fewsam/clicks', json(body)));

export const next = async (): Promise<Offer> => (await ask('/fewsam/next', json({ client_id: client }))).json();

export const train = async (): Promise<void> => void (await ask('/train/segmentation', json({})));

export const stopTraining = async (): Promise<void> => void (await ask('/train/', { method: 'DELETE' }));

/** Slices drawn by hand, each with the submission it was drawn over; ``replace`` names those whose newer label may go. */
export interface Drawing {
  image: string;
  voxels: Uint8Array;
  classes: ClassInfo[];
  drawn: Record<string, number>;
  replace: number[];
}

export async function submit({ image, voxels, classes, drawn, replace }: Drawing): Promise<any> {
  const form = new FormData();
  const names = classes.map(({ name, value }) => ({ name, idx: value }));
  form.append('params', JSON.stringify({ label_info: names, client_id: client, drawn, replace }));
  form.append('label', new Blob([voxels as BlobPart]), 'label.bin');
  return (await ask(`/fewsam/label?image=${encodeURIComponent(image)}`, { method: 'PUT', body: form })).json();
}
