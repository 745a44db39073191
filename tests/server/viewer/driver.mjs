// Windows of the panel without a viewer, driven over JSON lines: one command a line in, one answer a line out.
import { createInterface } from 'node:readline';
import { Session, Structures } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

class MemoryStore {
  #values = new Map();
  get length() { return this.#values.size; }
  key(n) { return [...this.#values.keys()][n] ?? null; }
  getItem(key) { return this.#values.get(key) ?? null; }
  setItem(key, value) { this.#values.set(key, value); }
  removeItem(key) { this.#values.delete(key); }
}

let store = new MemoryStore();
let windows = {};
let now = 1e12; // ms since 1970

const bytes = values => Uint8Array.from(values);
const plain = values => Array.from(values);

const commands = {
  reset: () => { store = new MemoryStore(); windows = {}; now = 1e12; },
  wait: ({ ms }) => { now += ms; },
  open: ({ window, page, depth, size, structures, voxels, head }) => {
    const list = new Structures();
    list.update(structures);
    const session = new Session('series', list, depth, size, store, page, () => now);
    windows[window] = { session, sent: null };
    return session.open(bytes(voxels), head);
  },
  close: ({ window, crash }) => {
    if (!crash) windows[window].session.keep(true);
    delete windows[window];
  },
  alive: ({ window }) => windows[window].session.keep(),
  draw: ({ window, k, pixels, names }) => {
    const { session } = windows[window];
    const values = pixels.map(id => (id ? session.structures.all.find(one => one.id === id).value : 0));
    return session.draw(new Map([[k, bytes(values)]]));
  },
  undo: ({ window }) => windows[window].session.undo(),
  redo: ({ window }) => windows[window].session.redo(),
  discard: ({ window, slices }) => windows[window].session.discard(slices),
  confirm: ({ window, k }) => windows[window].session.confirm(k),
  structures: ({ window, list }) => windows[window].session.rename(list),
  receive: ({ window, voxels, head }) => windows[window].session.receive(bytes(voxels), head),
  submission: ({ window }) => {
    const one = windows[window];
    one.sent = one.session.submission();
    return one.sent && { voxels: plain(one.sent.voxels), label_info: one.sent.label_info, drawn: one.sent.drawn };
  },
  submitted: ({ window, submissions }) => windows[window].session.submitted(windows[window].sent, submissions),
  // Every slice by identity, "" for nothing; what is drawn; what the server has a newer label of.
  shown: ({ window, submissions }) => {
    const { slices, structures } = windows[window].session;
    const pixels = Array.from({ length: slices.depth }, (_, k) =>
      plain(slices.shown(k)).map(value => (value ? structures.of(value).id : '')));
    return { pixels, dirty: slices.dirty, stale: slices.stale(submissions) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: commands[op](rest) ?? null };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
