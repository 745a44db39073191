/** Structures are added, renamed and deleted: on the server first, and here as it answers. */

import * as api from '../api';
import type { Structure } from '../model/structures';
import * as texts from '../model/texts';
import type { Desk } from './desk';

export class Naming {
  constructor(private desk: Desk) {}

  async add(name: string): Promise<void> {
    const { structures, store } = this.desk;
    if (!name) return this.desk.say('Type the name of the structure first.', 'bad');
    const there = structures.named(name);
    if (there?.id) return this.desk.choose(there.value);
    if (await this.change(() => api.addStructure(name))) {
      store.typed.value = '';
      this.desk.choose(structures.named(name)?.value ?? store.chosen.value);
    }
  }

  /** A new name for a structure of the server, or the first one of a segment that only this window has. */
  async rename(structure: Structure, name: string): Promise<void> {
    if (structure.id) {
      await this.change(() => api.renameStructure(structure.id, name));
    } else if (this.desk.structures.named(name)?.id) {
      this.desk.say(`There is a ${name} already; choose another name.`, 'bad');
    } else if (await this.change(() => api.addStructure(name), () => this.named(structure.value, name))) {
      this.desk.say(`${name} is a structure now.`, 'good');
    }
  }

  private named(value: number, name: string): void {
    const structure = this.desk.structures.of(value);
    if (structure) structure.name = name; // by which the server's list finds it
  }

  askToDelete({ id, name, slices }: Structure): void {
    if (!id) return;
    const kept = slices ? ` Its labels on ${texts.count(slices, 'slice')} stay in the history, and come back when a ${name} is added again.` : '';
    const act = (): void => void this.change(() => api.deleteStructure(id)).then(done => done && this.desk.say(`${name} is deleted.`, ''));
    this.desk.say(`Delete ${name} for everybody?${kept}`, 'asks', [
      { label: 'Delete', act },
      { label: 'Keep', act: () => this.desk.say(`${name} stays.`, '') },
    ]);
  }

  private async change(change: () => Promise<any>, first = (): void => {}): Promise<boolean> {
    let done = false;
    await this.desk.work('Changing structures', async map => {
      map.commit();
      const answer = await change();
      first();
      this.desk.structures.update(answer);
      map.segments();
      if (await this.desk.fetch()) map.session.keep();
      done = true;
    });
    return done;
  }
}
