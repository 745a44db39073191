/** The panel: the whole loop in one place. State lives here, not in the DOM: OHIF may take the panel down and up. */

import * as api from './api';
import { drawCurve } from './curve';
import { keep, restore } from './drafts';
import { Labelmap } from './labelmap';
import { active, brushSize, useTool } from './ohif';
import { Overlay, Point } from './strip';
import { style } from './style';

type Kind = '' | 'good' | 'bad';

const JUMP = 'fewsam.jump'; // where to go once the next study is open
const TOOLS: Record<string, string> = {
  brush: 'CircularBrush',
  eraser: 'CircularEraser',
  threshold: 'ThresholdCircularBrushDynamic',
};

export class Panel {
  readonly root = document.createElement('div');
  private state: api.State | null = null;
  private map: Labelmap | null = null;
  private overlay: Overlay | null = null;
  private opening = '';
  private chosen = 1;
  private tool = '';
  private points: Point[] = [];
  private busy = '';
  private wasTraining = false;
  private trainedFrom = 0;
  private timer = 0;
  private radius = 8;

  constructor() {
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
      <div class="fs-row"><button id="fewsam-train">Train</button><button id="fewsam-next">Next slice</button></div>
      <progress id="fewsam-progress" max="1" value="0" hidden></progress>
      <div class="faint" id="fewsam-status"></div>
      <h4>Served against submitted (Dice)</h4>
      <svg class="curve" id="fewsam-curve"></svg>
      <div class="message bad" id="fewsam-problems"></div>`;
    this.on('fewsam-submit', () => this.submit());
    this.on('fewsam-segment', () => this.segment());
    this.on('fewsam-train', () => this.train());
    this.on('fewsam-next', () => this.next());
    this.on('fewsam-undo', async () => this.undo());
    this.on('fewsam-clear', async () => this.clearPoints());
    this.on('fewsam-add', async () => this.addClass());
    this.root.querySelectorAll<HTMLButtonElement>('[data-tool]').forEach(button => {
      button.addEventListener('click', () => this.pick(button.dataset.tool ?? ''));
    });
    this.find<HTMLInputElement>('fewsam-size').addEventListener('input', event => {
      this.radius = Number((event.target as HTMLInputElement).value);
      brushSize(this.radius);
    });
    window.addEventListener('keydown', this.keys, true);
    window.addEventListener('beforeunload', () => this.map && keep(this.map));
    this.poll();
  }

  /** The mode was left: nothing of ours stays over the viewport. */
  close(): void {
    window.clearTimeout(this.timer);
    window.removeEventListener('keydown', this.keys, true);
    this.leave();
  }

  // -- what the server says

  private async poll(): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      await this.follow();
      await this.refresh();
      if (this.lost) this.say('The server is back.', 'good');
      this.lost = false;
    } catch (error) {
      this.lost = true;
      this.say((error as Error).message, 'bad');
    }
    this.timer = window.setTimeout(() => this.poll(), this.state?.training.running ? 800 : 2500);
  }

  private lost = false;

  /** Open the labelmap of whatever series the person looks at. */
  private async follow(): Promise<void> {
    const now = active();
    const series: string = now?.displaySet.SeriesInstanceUID ?? '';
    if (!now || this.opening === series + now.viewportId) return;
    if (this.map?.series === series && this.map.viewportId === now.viewportId) return;
    this.opening = series + now.viewportId;
    try {
      this.leave();
      this.state = await api.getState(series);
      const map = await Labelmap.open(now.viewportId, now.displaySet, this.classes());
      const known = await api.getLabelmap(series);
      map.fill(known.voxels);
      const drafts = restore(map);
      map.onStroke = () => {
        keep(map);
        this.show();
      };
      this.map = map;
      this.overlay = new Overlay(map);
      map.choose(this.chosen);
      this.say(greeting(known.head, drafts, this.state), '');
      this.arrive();
    } finally {
      this.opening = '';
    }
  }

  private leave(): void {
    if (this.map) {
      this.map.commit();
      keep(this.map);
      this.map.close();
    }
    this.overlay?.close();
    this.map = this.overlay = null;
    this.points = [];
  }

  private async refresh(): Promise<void> {
    const before = this.state?.classes.length ?? 0;
    this.state = await api.getState(this.map?.series);
    if (this.map && this.state.classes.length !== before) this.map.colour(this.classes());
    const { training, model_version } = this.state;
    if (this.wasTraining && !training.running) {
      if (training.state === 'failed') this.say(`Training failed: ${training.error}`, 'bad');
      else if (model_version > this.trainedFrom) this.say(`Model ${model_version} is live. Segment again to use it.`, 'good');
      else this.say(`The trained model was not better than what is served; ${this.served()} stays.`, '');
    }
    this.wasTraining = Boolean(training.running);
    this.show();
  }

  private classes(): api.ClassInfo[] {
    return this.state?.classes.length ? this.state.classes : this.pending;
  }

  private pending: api.ClassInfo[] = [];

  // -- what a person does

  private async submit(): Promise<void> {
    await this.work('Submitting', async map => {
      map.commit();
      const drawn = [...map.dirty].sort((a, b) => a - b);
      const answer = await api.submit(map.series, map.all(), this.known(), drawn);
      drawn.forEach(k => map.dirty.delete(k));
      keep(map);
      this.clearPoints();
      this.say(receipt(answer), answer.kept?.length ? '' : 'good');
    });
  }

  private async segment(): Promise<void> {
    await this.work('Segmenting', async map => {
      map.commit();
      const { head, voxels } = await api.segment(map.series);
      map.fill(voxels);
      this.clearPoints();
      const kept = map.dirty.size ? ` ${count(map.dirty.size, 'slice')} drawn and not submitted: left as drawn.` : '';
      const model = head.trained ? `Model ${head.model_version}` : 'Untrained answer';
      const notes = (head.notes ?? []).join('\n');
      this.say(`${model}, from ${count(head.shots, 'labelled slice')}.${kept}\n${notes}`.trim(), head.trained ? 'good' : '');
    });
  }

  private async train(): Promise<void> {
    if (this.state?.training.running) {
      await this.work('Stopping', () => api.stopTraining());
      return;
    }
    await this.work('Starting', async () => {
      this.trainedFrom = this.state?.model_version ?? 0;
      await api.train();
      this.wasTraining = true;
      this.say('Training started.', '');
    });
  }

  private async next(): Promise<void> {
    await this.work('Choosing', async map => {
      map.commit();
      keep(map);
      const offer = await api.next();
      if (!offer.id) return this.say('Every slice is labelled, or somebody else is at it.', 'good');
      if (offer.id === map.series) {
        map.jump(offer.slice ?? 0);
        return this.say(`Slice ${(offer.slice ?? 0) + 1}: its label would teach most.`, 'good');
      }
      sessionStorage.setItem(JUMP, JSON.stringify({ series: offer.id, slice: offer.slice }));
      const there = new URLSearchParams({ StudyInstanceUIDs: offer.study ?? '', initialSeriesInstanceUID: offer.id });
      this.say('The slice is in another study; going there.', '');
      location.assign(`${location.pathname}?${there}`);
    });
  }

  /** After a change of study: to the slice it was made for. */
  private arrive(): void {
    const text = sessionStorage.getItem(JUMP);
    if (!text || !this.map) return;
    const { series, slice } = JSON.parse(text) as { series: string; slice: number };
    if (series !== this.map.series) return;
    sessionStorage.removeItem(JUMP);
    const map = this.map;
    window.setTimeout(() => map.jump(slice), 600);
    this.say(`Slice ${slice + 1} of this study: its label would teach most.`, 'good');
  }

  private async point(i: number, j: number, k: number): Promise<void> {
    const label = this.name();
    const include = this.tool === 'include';
    await this.work('Correcting', async map => {
      map.commit();
      const point: Point = { i, j, k, include, label };
      const points = [...this.points, point].filter(one => one.k === k && one.label === label);
      const side = (wanted: boolean): number[][] => points.filter(one => one.include === wanted).map(one => [one.i, one.j]);
      const body = { image: map.series, slice: k, label, include: side(true), exclude: side(false) };
      const { voxels } = await api.correct(body);
      this.points.push(point);
      map.write(new Map([[k, corrected(map.slice(k), voxels, this.chosen)]]), true);
      keep(map);
      this.say(`${label}: ${count(points.length, 'point')} on slice ${k + 1}. Submit when it is right.`, '');
    });
  }

  private clearPoints(): void {
    this.points = [];
    this.show();
  }

  private undo(): void {
    if (!this.map) return;
    if (!this.map.undo()) return this.say('Nothing to undo.', '');
    this.points.pop();
    keep(this.map);
    this.show();
  }

  private addClass(): void {
    const input = this.find<HTMLInputElement>('fewsam-name');
    const name = input.value.trim();
    const known = this.known();
    if (!name) return this.say('Type the name of the structure first.', 'bad');
    const there = known.find(one => one.name.toLowerCase() === name.toLowerCase());
    if (there) return this.choose(there.value);
    const value = Math.max(0, ...known.map(one => one.value)) + 1;
    const hue = (value * 67) % 360;
    this.pending.push({ name, value, color: rgb(hue), slices: 0 });
    input.value = '';
    this.map?.colour(this.pending);
    this.choose(value);
  }

  /** Classes of the task, and those that were added here and not submitted yet. */
  private known(): api.ClassInfo[] {
    const server = this.state?.classes ?? [];
    const names = new Set(server.map(one => one.name.toLowerCase()));
    return [...server, ...this.pending.filter(one => !names.has(one.name.toLowerCase()))];
  }

  private choose(value: number): void {
    this.chosen = value;
    this.map?.choose(value);
    this.show();
  }

  private name(): string {
    return this.known().find(one => one.value === this.chosen)?.name ?? '';
  }

  private pick(tool: string): void {
    this.tool = this.tool === tool ? '' : tool;
    if (this.map) {
      if (TOOLS[this.tool]) {
        this.map.choose(this.chosen);
        useTool(this.map.viewportId, TOOLS[this.tool]);
        brushSize(this.radius);
      } else useTool(this.map.viewportId, 'WindowLevel');
    }
    this.show();
  }

  private keys = (event: KeyboardEvent): void => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z' && !event.shiftKey) {
      if (event.target instanceof HTMLInputElement && event.target.type === 'text') return;
      event.preventDefault();
      event.stopImmediatePropagation();
      this.undo();
    }
  };

  // -- what is shown

  private async work(what: string, todo: (map: Labelmap) => Promise<void>): Promise<void> {
    if (this.busy) return;
    if (!this.map) return this.say('Open a CT, MR or other image series first.', 'bad');
    this.busy = what;
    this.show();
    try {
      await todo(this.map);
      await this.refresh();
    } catch (error) {
      this.say(`${(error as Error).message}`, 'bad');
    } finally {
      this.busy = '';
      this.show();
    }
  }

  private say(text: string, kind: Kind): void {
    const message = this.find('fewsam-message');
    message.textContent = text;
    message.className = `message ${kind}`;
  }

  private served(): string {
    return this.state?.trained ? `model ${this.state.model_version}` : 'the untrained answer';
  }

  private show(): void {
    const { state, map } = this;
    const classes = this.find('fewsam-classes');
    classes.replaceChildren(
      ...this.known().map(one => {
        const row = document.createElement('div');
        row.className = `class ${one.value === this.chosen ? 'on' : ''}`;
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
        row.addEventListener('mousedown', () => this.choose(one.value));
        return row;
      }),
    );
    this.find('fewsam-new').hidden = !state?.new_labels;
    this.find('fewsam-new').style.display = state?.new_labels ? '' : 'none';
    this.root.querySelectorAll<HTMLButtonElement>('[data-tool]').forEach(button => {
      button.classList.toggle('on', button.dataset.tool === this.tool);
    });
    const training = Boolean(state?.training.running);
    for (const id of ['submit', 'segment', 'next']) this.find<HTMLButtonElement>(`fewsam-${id}`).disabled = !map || !!this.busy;
    const train = this.find<HTMLButtonElement>('fewsam-train');
    train.disabled = !map || !!this.busy;
    train.textContent = training ? 'Stop training' : 'Train';
    this.find<HTMLButtonElement>('fewsam-undo').disabled = !map?.steps;
    const dirty = map?.dirty.size ?? 0;
    this.find('fewsam-submit').textContent = dirty ? `Submit (${count(dirty, 'slice')})` : 'Submit';
    this.showProgress(training);
    if (state) drawCurve(this.root.querySelector<SVGSVGElement>('#fewsam-curve')!, state.curve);
    const problems = [...(state?.problems ?? []).map(one => `${one.file}: ${one.problem}`)];
    if (state?.pacs?.problem) problems.unshift(state.pacs.problem);
    if (state?.pacs?.waiting) problems.unshift(`${count(state.pacs.waiting, 'label')} kept here until the PACS takes them.`);
    this.find('fewsam-problems').textContent = problems.join('\n');
    if (this.overlay && map) {
      this.overlay.uncertainty = state?.image?.uncertainty ?? [];
      this.overlay.labelled = state?.image?.labelled ?? [];
      this.overlay.points = this.points;
      const pointing = this.tool === 'include' || this.tool === 'exclude';
      this.overlay.onPoint = pointing ? (i, j, k) => void this.point(i, j, k) : null;
      this.overlay.draw();
    }
  }

  private showProgress(training: boolean): void {
    const progress = this.find<HTMLProgressElement>('fewsam-progress');
    const stats = this.state?.training;
    progress.hidden = !training && !this.busy;
    if (training && stats?.total_epochs) {
      progress.value = (stats.epoch ?? 0) / stats.total_epochs;
    } else progress.removeAttribute('value');
    const parts: string[] = [];
    if (this.busy) parts.push(`${this.busy} …`);
    if (training) parts.push(stats?.waiting_for ? `waiting for ${stats.waiting_for}` : `training: ${stats?.state ?? ''} ${Math.round(100 * progress.value)} %`);
    if (!parts.length && this.state) {
      parts.push(this.state.trained ? `Model ${this.state.model_version} is live.` : 'No trained model yet: answers are untrained.');
    }
    this.find('fewsam-status').textContent = parts.join(' · ');
  }

  private find<T extends HTMLElement = HTMLElement>(id: string): T {
    return this.root.querySelector<T>(`#${id}`)!;
  }

  private on(id: string, act: () => Promise<void>): void {
    this.find(id).addEventListener('click', () => void act());
  }
}

/** The slice with the clicks' change to one class; the server gives the mask with the clicks, and without. */
export function corrected(slice: Uint8Array, planes: Uint8Array, value: number): Uint8Array {
  const result = slice.slice();
  const drawn = slice.includes(value);
  for (let at = 0; at < slice.length; at++) {
    const [now, before] = [planes[at], planes[slice.length + at]];
    // Where the class is shown already only what the clicks change is changed: strokes by hand stay.
    if (drawn && now === before) continue;
    if (now) result[at] = value;
    else if (slice[at] === value) result[at] = 0;
  }
  return result;
}

function greeting(known: any, drafts: number, state: api.State): string {
  const parts: string[] = [];
  if (known.drawn.length) parts.push(`${count(known.drawn.length, 'slice')} of this series labelled.`);
  else parts.push('Draw a structure on two or three slices, then Submit.');
  if (known.served) parts.push('The last segmentation is shown.');
  if (drafts) parts.push(`${count(drafts, 'slice')} drawn and not submitted: put back.`);
  if (state.encoder.trained === false) parts.push('The encoder is untrained: results rest on your labels alone.');
  return parts.join(' ');
}

function receipt(answer: any): string {
  const changed = answer.added.length + answer.superseded.length + answer.cleared.length;
  const parts = [changed ? `${count(changed, 'slice')} submitted.` : 'Nothing new in this label: no slice changed.'];
  if (answer.kept.length) parts.push(`${count(answer.kept.length, 'slice')} kept as somebody drew them since; reload to see them.`);
  if (answer.untouched.length) parts.push(`${count(answer.untouched.length, 'slice')} are the model's own and teach nothing.`);
  if (answer.waiting_for_pacs) parts.push('The PACS is away: the label is kept and stored there when it is back.');
  return parts.join(' ');
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function rgb(hue: number): [number, number, number] {
  const channel = (n: number): number => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (0.55 - 0.4 * Math.max(-1, Math.min(k - 3, 9 - k, 1)) * 0.8));
  };
  return [channel(0), channel(8), channel(4)];
}
