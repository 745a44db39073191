// What several tests of the panel's model begin with.
import { Slices } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

export const named = (...names) => names.map(name => ({ id: name, name, color: [1, 2, 3], slices: 0 }));
export const bytes = (...values) => Uint8Array.from(values);
export const head = (names, submissions = {}) => ({ structures: names.map(name => ({ id: name, name })), submissions });
export const slices = () => new Slices(3, 2);

/** The store of a browser, which may be full. */
export class MemoryStore {
  values = new Map();
  full = false;
  get length() { return this.values.size; }
  key(n) { return [...this.values.keys()][n] ?? null; }
  getItem(key) { return this.values.get(key) ?? null; }
  setItem(key, value) { if (this.full) throw new Error('full'); this.values.set(key, value); }
  removeItem(key) { this.values.delete(key); }
}
