/** The panel's elements: what they look like, and which act each button starts. It keeps nothing but the DOM. */

import * as api from './api';
import { drawCurve } from './curve';
import { HistoryView } from './historyview';
import { StructureList } from './structurelist';
import { Structure } from './structures';
import { style } from './style';
import { count, guide, progress } from './texts';

export type Kind = '' | 'good' | 'bad' | 'asks';
export type Button = (typeof BUTTONS)[number];

export interface Acts {
  press: (button: Button) => void;
  pick: (tool: string) => void;
  choose: (value: number) => void;
  size: (radius: number) => void;
  rename: (structure: Structure, name: string) => void;
  remove: (structure: Structure) => void;
  history: (act: 'restore' | 'unlabel', shot: api.Shot) => void;
}

export interface Shown {
  state: api.State | null;
  structures: Structure[];
  chosen: number;
  tool: string;
  busy: string;
  open: boolean; // a series is open
  aside: boolean; // the viewer shows a stored segmentation instead of it
  undoSteps: number;
  redoSteps: number;
  dirty: number; // slices drawn and not submitted
  conflict: number; // slices that somebody else submitted meanwhile
  answered: boolean;
  back: boolean; // there is a place to go back to
  slice: number; // number that the viewer shows of the slice on the screen
  history: api.Shot[];
  problems: string[];
}

const BUTTONS = ['submit', 'theirs', 'segment', 'train', 'next', 'skip', 'back', 'undo', 'redo', 'clear', 'add'] as const;

const TOOLS = ['brush', 'eraser', 'threshold', 'include', 'exclude'];

export class View {
  readonly root = document.createElement('div');
  private readonly structures: StructureList;
  private readonly history: HistoryView;

  constructor(acts: Acts) {
    this.root.id = 'fewsam-panel';
    this.root.innerHTML = `<style>${style}</style>
      <div class="message" id="fewsam-message" role="status"><div id="fewsam-text"></div><div class="fs-row" id="fewsam-answers"></div></div>
      <div class="faint" id="fewsam-hint"></div>
      <h4>Structures <span class="faint">labelled slices: here / all</span></h4>
      <div id="fewsam-classes"></div>
      <div class="fs-row" id="fewsam-new"><input type="text" placeholder="new structure" id="fewsam-name"><button id="fewsam-add">Add</button></div>
      <h4>Draw</h4>
      <div class="fs-row">
        <button data-tool="brush" id="fewsam-brush">Brush</button><button data-tool="eraser" id="fewsam-eraser">Eraser</button>
        <button data-tool="threshold" id="fewsam-threshold" title="Paints what looks like the tissue under the cursor">Threshold</button>
      </div>
      <div class="fs-row">
        <button id="fewsam-undo" title="Ctrl+Z">Undo</button><button id="fewsam-redo" title="Ctrl+Shift+Z or Ctrl+Y">Redo</button>
        <span class="faint">size</span><input type="range" id="fewsam-size" aria-label="brush size" min="1" max="60" step="1" value="8">
      </div>
      <h4>Correct with points</h4>
      <div class="fs-row">
        <button data-tool="include" id="fewsam-include">+ Include</button><button data-tool="exclude" id="fewsam-exclude">− Exclude</button>
        <button id="fewsam-clear">Clear points</button>
      </div>
      <h4>Learn</h4>
      <div class="fs-row"><button id="fewsam-submit">Submit</button><button id="fewsam-segment">Segment</button><button id="fewsam-train">Train</button></div>
      <div class="fs-row"><button id="fewsam-theirs" title="Show what was submitted from elsewhere; Undo brings yours back">Take theirs</button></div>
      <div class="fs-row">
        <button id="fewsam-next">Next slice</button><button id="fewsam-skip" title="Another one; this slice is not offered again">Skip</button>
        <button id="fewsam-back" title="To where you were before Next slice">Back</button>
      </div>
      <progress id="fewsam-progress" max="1" value="0" hidden></progress>
      <div class="faint" id="fewsam-status"></div>
      <details id="fewsam-history"><summary>History of slice <span id="fewsam-slice"></span></summary><div id="fewsam-shots"></div></details>
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
    this.structures = new StructureList(this.find('fewsam-classes'), acts);
    this.history = new HistoryView(this.find('fewsam-history'), acts);
  }

  /** Whether the history of a slice is unfolded. */
  get tracing(): boolean {
    return this.find<HTMLDetailsElement>('fewsam-history').open;
  }

  onTrace(act: () => void): void {
    this.find('fewsam-history').addEventListener('toggle', act);
  }

  /** Say something; ``answers`` make it a question, with a button each. */
  say(text: string, kind: Kind, answers: { label: string; act: () => void }[] = []): void {
    const message = this.find('fewsam-message');
    this.find('fewsam-text').textContent = text;
    message.className = `message ${answers.length ? 'asks' : kind}`;
    message.scrollTop = 0;
    this.find('fewsam-answers').replaceChildren(
      ...answers.map(({ label, act }) => {
        const button = document.createElement('button');
        button.textContent = label;
        button.addEventListener('click', act);
        return button;
      }),
    );
  }

  /** The typed name of a new structure. */
  get typed(): string {
    return this.find<HTMLInputElement>('fewsam-name').value.trim();
  }

  set typed(text: string) {
    this.find<HTMLInputElement>('fewsam-name').value = text;
  }

  show(now: Shown): void {
    const training = Boolean(now.state?.training.running);
    this.structures.show(now.structures, now.state, now.chosen);
    this.history.show(now.slice, now.history);
    this.find('fewsam-new').style.display = now.state?.new_labels ? '' : 'none';
    this.root.querySelectorAll<HTMLButtonElement>('[data-tool]').forEach(button => {
      button.classList.toggle('on', button.dataset.tool === now.tool);
    });
    this.find('fewsam-train').textContent = training ? 'Stop training' : 'Train';
    const drawn = now.dirty ? ` (${count(now.dirty, 'slice')})` : '';
    this.find('fewsam-submit').textContent = now.conflict ? `Submit mine${drawn}` : `Submit${drawn}`;
    this.find('fewsam-theirs').style.display = now.conflict ? '' : 'none';
    this.enable(now, training);
    this.showProgress(training, now);
    if (now.state) drawCurve(this.root.querySelector<SVGSVGElement>('#fewsam-curve')!, now.state.curve);
    this.find('fewsam-problems').textContent = now.problems.join('\n');
  }

  /** One button stands out: what to do next. One that cannot be used says why. */
  private enable(now: Shown, training: boolean): void {
    const labelled = Object.values(now.state?.structures ?? {}).some(one => one.slices > 0) ? 1 : 0;
    const { highlight, hint, blocked } = guide({ ...now, structures: now.structures.length, labelled, training });
    if (!now.undoSteps) blocked.undo = 'Nothing to undo.';
    if (!now.redoSteps) blocked.redo = 'Nothing to redo.';
    if (!now.back) blocked.back ??= 'Next slice has led nowhere yet.';
    if (now.aside) for (const tool of TOOLS) blocked[tool] = 'A stored segmentation is shown: go back to drawing first.';
    for (const button of [...BUTTONS, ...TOOLS] as string[]) {
      const element = this.find<HTMLButtonElement>(`fewsam-${button}`);
      element.dataset.title ??= element.title;
      element.disabled = button in blocked;
      element.title = blocked[button] ?? element.dataset.title;
      element.classList.toggle('main', button === highlight);
    }
    this.find('fewsam-hint').textContent = hint ? `Next: ${hint}` : '';
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
