/** The structures of the task in one window: by the server's identity and name, with the window's own voxel values.
 *
 * A voxel value means something in this window alone. What comes from the server is translated by identity, and what
 * goes there carries identities and names, so that no two windows ever mean different structures by one number.
 */

export type Colour = [number, number, number];

/** A structure as the server has it. */
export interface Named {
  /** The server's own, which a change of name keeps. */
  id: string;
  name: string;
  color: Colour;
  slices: number;
}

/** The same here; without an ``id`` the server does not have it: it has no name yet, or was deleted elsewhere. */
export interface Structure extends Named {
  value: number;
}

const VALUES = 255;
const GREY: Colour = [170, 170, 170];
const lower = (name: string): string => name.trim().toLowerCase();

export class Structures {
  private list: Structure[] = [];
  private gone: Structure[] = []; // deleted on the server; what is drawn of them here keeps its name

  /** Those of the server, in its order, and then what only this window has. */
  get all(): Structure[] {
    return [...this.list];
  }

  /** Tells which structures the server has. */
  get ids(): string {
    return JSON.stringify(this.list.flatMap(one => one.id || []).sort());
  }

  /** With those that were deleted on the server since: their values stay theirs. */
  get known(): Structure[] {
    return [...this.list, ...this.gone];
  }

  /** Segments that were drawn here and have no structure on the server. */
  get unnamed(): Structure[] {
    return this.list.filter(one => !one.id);
  }

  of(value: number): Structure | undefined {
    return this.list.find(one => one.value === value) ?? this.gone.find(one => one.value === value);
  }

  named(name: string): Structure | undefined {
    return this.list.find(one => lower(one.name) === lower(name));
  }

  /** Take the server's list: identities keep their values here. Whether anything but counts changed. */
  update(server: Named[]): boolean {
    const before = JSON.stringify(this.list.map(({ id, name, value }) => [id, name, value]));
    const known = [...this.list, ...this.gone];
    const kept = new Set<Structure>();
    const taken = new Set(known.map(one => one.value));
    const next = server.map(({ id, name, color, slices }, place): Structure => {
      // A segment that gets the name of a deleted structure is that structure; what else is drawn of it stays so too.
      const unnamed = this.list.find(one => !one.id && lower(one.name) === lower(name));
      const here = this.list.find(one => one.id === id) ?? unnamed ?? this.gone.find(one => one.id === id);
      if (here) kept.add(here);
      return { id, name, color, slices, value: here?.value ?? this.free(place + 1, taken) };
    });
    const left = known.filter(one => !kept.has(one));
    this.gone = left.filter(one => one.id);
    this.list = [...next, ...left.filter(one => !one.id)];
    return JSON.stringify(this.list.map(({ id, name, value }) => [id, name, value])) !== before;
  }

  /** A segment that only this window has: the viewer's own button made it, or a draft has one that was deleted. */
  addUnnamed(name: string, value = this.free(1)): Structure {
    const one: Structure = { id: '', name, value, color: GREY, slices: 0 };
    this.list.push(one);
    return one;
  }

  /** The value under which something from elsewhere is drawn here: from the server, or from a draft. */
  valueFor({ id, name }: { id?: string; name: string }): number {
    const known = [...this.list, ...this.gone];
    const here = id ? known.find(one => one.id === id) : this.named(name);
    if (here) return here.value;
    if (!id) return this.addUnnamed(name).value;
    // Deleted on the server, or so new that it is not in the list yet, which gives it its place.
    const one: Structure = { id, name, color: GREY, slices: 0, value: this.free(1) };
    this.gone.push(one);
    return one.value;
  }

  /** From values of the server, the places in ``order`` from 1, to those here. */
  fromServer(voxels: Uint8Array, order: { id?: string; name: string }[]): Uint8Array {
    const table = new Uint8Array(VALUES + 1);
    order.forEach((one, place) => (table[place + 1] = this.valueFor(one)));
    return voxels.map(value => table[value]);
  }

  /** What each value in use here means: goes along with whatever is sent or kept. */
  key(used: Iterable<number>): { id: string; name: string; value: number }[] {
    return [...new Set(used)].filter(Boolean).map(value => {
      const { id, name } = this.of(value) ?? { id: '', name: `Segment ${value}` };
      return { id, name, value };
    });
  }

  private free(wanted: number, taken = new Set([...this.list, ...this.gone].map(one => one.value))): number {
    let value = wanted;
    if (taken.has(value)) for (value = 1; taken.has(value); ) value++;
    if (value > VALUES) throw new Error(`There are ${VALUES} structures: delete one first.`);
    taken.add(value);
    return value;
  }
}
