/** Scribbles and boxes, and points that are propagated to other slices: the server answers for all prompts of a structure. */

import * as api from '../api';
import { sparing } from '../model/editing';
import { type Changes, asked, obeyed, planes, reapplied } from '../model/prompts';
import type { Point } from '../model/session';
import * as texts from '../model/texts';
import type { Labelmap } from '../viewer/labelmap';
import type { Dragged, Place } from '../viewer/drag';
import { type Desk, left, onScreen } from './desk';

export class Prompting {
  private queue: Promise<void> = Promise.resolve();
  private base = new Map<number, Map<number, Uint8Array>>(); // of each structure, slices as they were before its first prompt
  private known = new Map<string, Changes>(); // what prompts changed, by what they are

  constructor(private desk: Desk) {}

  /** A scribble or a box was drawn. */
  stroke(kind: Dragged, places: Place[], k: number, exclude: boolean): void {
    const { store } = this.desk;
    const map = onScreen(this.desk);
    if (!map) return;
    const { columns, rows } = map.geometry.planes[k];
    const inside = ([i, j]: Place): Place => [clamp(Math.round(i), columns), clamp(Math.round(j), rows)];
    const line = places.map(inside);
    this.add({ i: line[0][0], j: line[0][1], k, include: !exclude, value: store.chosen.value, kind, line });
  }

  /** Whether a point is to be answered here: it is propagated, or other prompts of its structure are. */
  takes(value: number): boolean {
    const points = this.desk.map?.session.points ?? [];
    return this.desk.store.propagate.value || points.some(one => one.value === value && one.kind !== undefined);
  }

  add(prompt: Point): void {
    const { value } = prompt;
    const { map: of, structures } = this.desk; // the series of the prompt, whichever is open when its turn comes
    const structure = structures.of(value);
    if (!structure) return this.desk.say('Choose a structure first.', 'bad');
    if (this.desk.store.look.value.locked.includes(value)) return this.desk.say(`${structure.name} is locked.`, 'bad');
    this.queue = this.queue.then(() =>
      this.desk.work('Correcting', async map => {
        map.commit();
        const { session } = map;
        const same = (one: Point): boolean => !one.kind && !prompt.kind && one.i === prompt.i && one.j === prompt.j && one.k === prompt.k;
        const all = [...session.points.filter(one => one.value !== value || !same(one)), prompt];
        const mine = all.filter(one => one.value === value);
        if (mine.length === 1) this.base.set(value, new Map());
        if (all.length === 1) this.known.clear();
        const before = this.known.get(named(session.points, value)) ?? new Map<number, Uint8Array>();
        const keep = session.slices.dirty.filter(k => !before.has(k));
        const body = { image: map.series, label: structure.name, id: structure.id, prompts: asked(mine), propagate: this.desk.store.propagate.value, keep };
        const { head, voxels } = await api.prompts(body);
        await map.released();
        if (left(this.desk, map)) return;
        map.commit();
        const now = planes(head.slices, voxels);
        this.known.set(named(all, value), now);
        map.render(session.correctAll(this.changed(map, before, now, mine, value), all));
        const others = now.size - (now.has(prompt.k) ? 1 : 0);
        const propagated = others > 0 ? `, and ${texts.count(others, 'other slice')} changed` : '';
        const said = `${structure.name}: ${texts.count(mine.length, 'prompt')} on ${texts.slicesOf([...new Set(mine.map(one => one.k))])}`;
        this.desk.say(`${said}${propagated}. Submit when it is right; Undo takes the last one back.`, '');
      }, of),
    );
  }

  private changed(map: Labelmap, before: Changes, now: Changes, mine: Point[], value: number): Map<number, Uint8Array> {
    const { slices } = map.session;
    const { locked } = this.desk.store.look.value;
    const [found, base] = [new Map<number, Uint8Array>(), this.base.get(value) ?? new Map<number, Uint8Array>()];
    const width = map.geometry.planes[0].columns;
    for (const k of new Set([...before.keys(), ...now.keys(), ...mine.map(one => one.k)])) {
      const shown = slices.shown(k);
      if (!base.has(k)) base.set(k, shown.slice());
      const pixels = reapplied(shown, base.get(k)!, before.get(k), now.get(k), value);
      found.set(k, sparing(obeyed(pixels, mine.filter(one => one.k === k), width, value), shown, locked));
    }
    return found;
  }
}

function named(points: Point[], value: number): string {
  return JSON.stringify(points.filter(one => one.value === value));
}

function clamp(n: number, size: number): number {
  return Math.max(0, Math.min(size - 1, n));
}
