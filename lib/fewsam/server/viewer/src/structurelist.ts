/** The list of structures: choose one, rename it, delete it, and name a segment that has no name yet. */

import { State } from './api';
import { Structure } from './structures';

interface Acts {
  choose: (value: number) => void;
  rename: (structure: Structure, name: string) => void;
  remove: (structure: Structure) => void;
}

export class StructureList {
  private editing = 0; // voxel value of the structure whose name is being typed
  private shown = '';
  private now: { structures: Structure[]; state: State | null; chosen: number } | null = null;

  constructor(
    private root: HTMLElement,
    private acts: Acts,
  ) {}

  show(structures: Structure[], state: State | null, chosen: number): void {
    this.now = { structures, state, chosen };
    const text = JSON.stringify([structures, state?.image?.counts, chosen, this.editing]);
    if (text === this.shown) return; // what is being typed stays
    this.shown = text;
    const typing = this.root.querySelector<HTMLInputElement>('input')?.value;
    this.root.replaceChildren(...structures.map(one => this.row(one, state?.image?.counts[one.name] ?? 0, one.value === chosen)));
    const input = this.root.querySelector<HTMLInputElement>('input');
    if (input && typing) input.value = typing;
  }

  private row(one: Structure, here: number, chosen: boolean): HTMLElement {
    const row = document.createElement('div');
    row.className = `class ${chosen ? 'on' : ''}`;
    row.dataset.name = one.name;
    const swatch = document.createElement('span');
    swatch.className = 'swatch';
    swatch.style.background = `rgb(${one.color.join(',')})`;
    row.append(swatch);
    row.addEventListener('mousedown', () => this.acts.choose(one.value));
    if (!one.id || this.editing === one.value) {
      row.append(this.input(one));
      return row;
    }
    const name = document.createElement('span');
    name.className = 'name';
    name.textContent = name.title = one.name;
    const count = document.createElement('span');
    count.className = 'count';
    count.textContent = `${here} / ${one.slices}`;
    row.append(name, this.button('rename', '✎', `Rename ${one.name}`, () => this.edit(one.value)));
    row.append(this.button('delete', '×', `Delete ${one.name}; its labels stay in the history`, () => this.acts.remove(one)), count);
    return row;
  }

  private input(one: Structure): HTMLInputElement {
    const input = document.createElement('input');
    input.type = 'text';
    input.placeholder = one.id ? one.name : `name ${one.name}`;
    input.value = one.id ? one.name : '';
    input.addEventListener('mousedown', event => event.stopPropagation());
    input.addEventListener('keydown', event => {
      event.stopPropagation(); // letters are shortcuts of the viewer
      if (event.key === 'Escape') this.edit(0);
      if (event.key !== 'Enter' || !input.value.trim()) return;
      this.acts.rename(one, input.value.trim());
      this.edit(0);
    });
    if (one.id) window.setTimeout(() => input.select());
    return input;
  }

  private button(kind: string, text: string, title: string, act: () => void): HTMLElement {
    const button = document.createElement('button');
    button.className = `small ${kind}`;
    button.textContent = text;
    button.title = title;
    button.setAttribute('aria-label', title);
    button.addEventListener('mousedown', event => event.stopPropagation());
    button.addEventListener('click', act);
    return button;
  }

  private edit(value: number): void {
    this.editing = value;
    if (this.now) this.show(this.now.structures, this.now.state, this.now.chosen);
  }
}
