/** The panel's elements: what they look like, and which act each button starts. It keeps nothing but the DOM. */

import * as api from './api';
import { drawCurve } from './curve';
import { style } from './style';
import { count, progress } from './texts';

export type Kind = '' | 'good' | 'bad';
export type Button = 'submit' | 'theirs' | 'segment' | 'train' | 'next' | 'undo' | 'clear' | 'add';

export interface Acts {
  press: (button: Button) => void;
  pick: (tool: string) => void;
  choose: (value: number) => void;
  size: (radius: number) => void;
}

export interface Shown {
  state: api.State | null;
  classes: api.ClassInfo[];
  chosen: number;
  tool: string;
  busy: string;
  open: boolean; // a series is open
  steps: number; // of undo
  dirty: number; // slices drawn and not submitted
  conflict: number; // slices that somebody else submitted meanwhile
  problems: string[];
}

const BUTTONS: Button[] = ['submit', 'theirs', 'segment', 'train', 'next', 'undo', 'clear', 'add'];

export class View {
  readonly root = document.createElement('div');

  constructor(private acts: Acts) {
    this.root.id = 'fewsam-panel';
    this.root.innerHTML = `<style>${style}</style>
      <div class="message" id="fewsam-message"></div>
      <h4>Structures <span class="faint">labelled slices: here / all</span></h4>
      <div id="fewsam-classes"></div>
      <div class="fs-row" id="fewsam-new"><input type="text" placeholder="new structure" id="fewsam-name"><button id="fewsam-add">Add</button></div>
      <h4>Draw</h4>
      <div class="fs-row">
        <button data-tool="brush" id="fewsam-brush">Brush</button><button data-tool="eraser" id="fewsam-eraser">Eraser</button>
        <button data-tool="threshold" id="fewsam-threshold" title="Paints what looks like the tissue under the cursor">Threshold</button>
        <button id="fewsam-undo" title="Ctrl+Z">Undo</button>
      </div>
      <div class="fs-row"><span class="faint">size</span><input type="range" id="fewsam-size" min="1" max="60" step="1" value="8"></div>
      <h4>Correct with points</h4>
      <div class="fs-row">
        <button data-tool="include" id="fewsam-include">+ Include</button><button data-tool="exclude" id="fewsam-exclude">− Exclude</button>
        <button id="fewsam-clear">Clear points</button>
      </div>
      <h4>Learn</h4>
      <div class="fs-row"><button class="main" id="fewsam-submit">Submit</button><button id="fewsam-segment">Segment</button></div>
      <div class="fs-row"><button id="fewsam-theirs" title="Show what was submitted from elsewhere; Undo brings yours back">Take theirs</button></div>
      <div class="fs-row"><button id="fewsam-train">Train</button><button id="fewsam-next">Next slice</button></div>
      <progress id="fewsam-progress" max="1" value="0" hidden></progress>
      <div class="faint" id="fewsam-status"></div>
      <h4>Served against submitted (Dice)</h4>
      <svg class="curve" id="fewsam-curve"></svg>
      <div class="message bad" id="fewsam-problems"></div>`;
    BUTTONS.forEach(button => this.find(`fewsam-${button}`).addEventListener('click', () => acts.press(button)));
    this.root.querySelectorAll<HTMLButtonElement>('[data-tool]').forEach(button => {
      button.addEventListener('click', () => acts.pick(button.dataset.tool ?? ''));
    });
    this.find('fewsam-size').addEventListener('input', event => acts.size(Number((event.target as HTMLInputElement).value)));
    this.find('fewsam-name').addEventListener('keydown', event => {
      event.stopPropagation(); // letters are shortcuts of the viewer
      if (event.key === 'Enter') acts.press('add');
    });
  }

  say(text: string, kind: Kind): void {
    const message = this.find('fewsam-message');
    message.textContent = text;
    message.className = `message ${kind}`;
  }

  /** The typed name of a new structure. */
  get typed(): string {
    return this.find<HTMLInputElement>('fewsam-name').value.trim();
  }

  set typed(text: string) {
    this.find<HTMLInputElement>('fewsam-name').value = text;
  }

  show(now: Shown): void {
    this.showClasses(now);
    this.find('fewsam-new').style.display = now.state?.new_labels ? '' : 'none';
    this.root.querySelectorAll<HTMLButtonElement>('[data-tool]').forEach(button => {
      button.classList.toggle('on', button.dataset.tool === now.tool);
    });
    const training = Boolean(now.state?.training.running);
    const idle = now.open && !now.busy;
    for (const button of ['submit', 'theirs', 'segment', 'train', 'next']) {
      this.find<HTMLButtonElement>(`fewsam-${button}`).disabled = !idle;
    }
    this.find('fewsam-train').textContent = training ? 'Stop training' : 'Train';
    this.find<HTMLButtonElement>('fewsam-undo').disabled = !now.steps;
    const drawn = now.dirty ? ` (${count(now.dirty, 'slice')})` : '';
    this.find('fewsam-submit').textContent = now.conflict ? `Submit mine${drawn}` : `Submit${drawn}`;
    this.find('fewsam-theirs').style.display = now.conflict ? '' : 'none';
    this.showProgress(training, now);
    if (now.state) drawCurve(this.root.querySelector<SVGSVGElement>('#fewsam-curve')!, now.state.curve);
    this.find('fewsam-problems').textContent = now.problems.join('\n');
  }

  private showClasses({ state, classes, chosen }: Shown): void {
    this.find('fewsam-classes').replaceChildren(
      ...classes.map(one => {
        const row = document.createElement('div');
        row.className = `class ${one.value === chosen ? 'on' : ''}`;
        row.dataset.name = one.name;
        const swatch = document.createElement('span');
        swatch.className = 'swatch';
        swatch.style.background = `rgb(${one.color.join(',')})`;
        const name = document.createElement('span');
        name.textContent = one.name;
        const slices = document.createElement('span');
        slices.className = 'count';
        slices.textContent = `${state?.image?.counts[one.name] ?? 0} / ${one.slices}`;
        row.append(swatch, name, slices);
        row.addEventListener('mousedown', () => this.acts.choose(one.value));
        return row;
      }),
    );
  }

  private showProgress(training: boolean, { state, busy }: Shown): void {
    const bar = this.find<HTMLProgressElement>('fewsam-progress');
    const stats = state?.training;
    bar.hidden = !training && !busy;
    if (training && stats?.total_epochs) bar.value = (stats.epoch ?? 0) / stats.total_epochs;
    else bar.removeAttribute('value');
    this.find('fewsam-status').textContent = progress(state, busy);
  }

  private find<T extends HTMLElement = HTMLElement>(id: string): T {
    return this.root.querySelector<T>(`#${id}`)!;
  }
}
