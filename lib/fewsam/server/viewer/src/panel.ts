/** The panel: the whole loop in one place. State lives here, not in the DOM: OHIF may take the panel down and up. */

import * as api from './api';
import { keep, restore } from './drafts';
import { Labelmap, same } from './labelmap';
import { active, brushSize, showPanel, useTool } from './ohif';
import { corrected } from './points';
import { Overlay, Point } from './strip';
import { capital, count, greeting, problems, receipt, slicesOf } from './texts';
import { Button, Kind, View } from './view';

const JUMP = 'fewsam.jump'; // where to go once the next study is open
const TOOLS: Record<string, string> = {
  brush: 'CircularBrush',
  eraser: 'CircularEraser',
  threshold: 'ThresholdCircularBrushDynamic',
};

export class Panel {
  private readonly view: View;
  private state: api.State | null = null;
  private map: Labelmap | null = null;
  private overlay: Overlay | null = null;
  private opening = '';
  private chosen = 1;
  private tool = '';
  private points: Point[] = [];
  private pending: api.ClassInfo[] = []; // structures added here and not submitted yet
  private conflict: number[] = []; // slices the server asked about: somebody else submitted them meanwhile
  private busy = '';
  private lost = false;
  private unkept = false;
  private wasTraining = false;
  private trainedFrom = 0;
  private timer = 0;
  private waited = 0; // looks without an open series
  private radius = 8;

  constructor(private id: string) {
    const acts: Record<Button, () => void> = {
      submit: () => void this.submit(),
      theirs: () => void this.theirs(),
      segment: () => void this.segment(),
      train: () => void this.train(),
      next: () => void this.next(),
      undo: () => this.undo(),
      clear: () => this.clearPoints(),
      add: () => this.addClass(),
    };
    this.view = new View({
      press: button => acts[button](),
      pick: tool => this.pick(tool),
      choose: value => this.choose(value),
      size: radius => brushSize((this.radius = radius)),
    });
    window.addEventListener('keydown', this.keys, true);
    window.addEventListener('pagehide', this.closing);
    void this.poll();
  }

  get root(): HTMLElement {
    return this.view.root;
  }

  /** The mode was left: nothing of ours stays over the viewport. */
  close(): void {
    window.clearTimeout(this.timer);
    window.removeEventListener('keydown', this.keys, true);
    window.removeEventListener('pagehide', this.closing);
    this.leave();
  }

  private closing = (): void => {
    this.map?.commit();
    if (this.map) keep(this.map, true);
  };

  // -- what the server says

  private async poll(): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      await this.follow();
      await this.refresh();
      if (this.map) this.keep(this.map); // says that this page is alive
      if (this.lost) this.say('The server is back.', 'good');
      this.lost = false;
    } catch (error) {
      this.lost = true;
      this.say((error as Error).message, 'bad');
    }
    this.timer = window.setTimeout(() => this.poll(), this.state?.training.running ? 800 : 2500);
  }

  /** Open the labelmap of whatever series the person looks at. */
  private async follow(): Promise<void> {
    const now = active();
    const series: string = now?.displaySet.SeriesInstanceUID ?? '';
    if (!now && !this.map && ++this.waited === 4) {
      const marked = 'The viewer marks what it cannot show with a triangle in the list on the left.';
      this.say(`No image series is open. Double-click one in the list. ${marked}`, '');
    }
    if (!now || this.opening === series + now.viewportId) return;
    if (this.map?.series === series && this.map.viewportId === now.viewportId) return;
    this.opening = series + now.viewportId;
    try {
      this.leave();
      this.state = await api.getState(series);
      const map = await Labelmap.open(now.viewportId, now.displaySet, this.classes());
      const known = await api.getLabelmap(series);
      map.fill(known.voxels, known.head.submissions);
      const drafts = restore(map);
      map.onStroke = () => {
        this.keep(map);
        this.show();
      };
      this.map = map;
      this.overlay = new Overlay(map);
      showPanel(this.id);
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
      keep(this.map, true);
      this.map.close();
    }
    this.overlay?.close();
    this.map = this.overlay = null;
    this.points = [];
    this.conflict = [];
  }

  private keep(map: Labelmap): void {
    this.unkept = !keep(map);
  }

  private async refresh(): Promise<void> {
    const before = this.state?.classes.length ?? 0;
    this.state = await api.getState(this.map?.series);
    if (this.map && this.state.classes.length !== before) this.map.colour(this.classes());
    const { training, model_version } = this.state;
    if (this.wasTraining && !training.running) {
      const notes = (training.notes ?? []).map(note => `\n${note}`).join('');
      if (training.state === 'failed') this.say(`Training failed: ${training.error}`, 'bad');
      else if (model_version > this.trainedFrom) this.say(`Model ${model_version} is live. Segment again to use it.${notes}`, 'good');
      else this.say(`The trained model was not better than what is served; ${this.served()} stays.${notes}`, '');
    }
    this.wasTraining = Boolean(training.running);
    await this.catchUp();
    this.show();
  }

  /** Show what was submitted from elsewhere, but on slices that are drawn on here. */
  private async catchUp(): Promise<void> {
    const [map, image] = [this.map, this.state?.image];
    if (!map || image?.id !== map.series) return;
    map.commit();
    const stale = map.outdated(image.submissions).filter(k => !map.dirty.has(k));
    if (!stale.length) return;
    const { head, voxels } = await api.getLabelmap(map.series);
    if (this.map !== map) return;
    map.commit(); // what was drawn while the answer came stays
    map.fill(voxels, head.submissions, false);
    if (!this.busy) this.say(`${capital(slicesOf(stale))}: submitted from elsewhere, and shown here now.`, '');
  }

  private classes(): api.ClassInfo[] {
    return this.state?.classes.length ? this.state.classes : this.pending;
  }

  // -- what a person does

  private async submit(): Promise<void> {
    await this.work('Submitting', async map => {
      map.commit();
      const slices = [...map.dirty].sort((a, b) => a - b);
      if (!slices.length) {
        return this.say('Nothing to submit: no slice was changed by hand. Draw a structure or correct one first.', 'bad');
      }
      const drawn = Object.fromEntries(slices.map(k => [k, map.seen[k]]));
      const voxels = map.all();
      let answer: any;
      try {
        answer = await api.submit({ image: map.series, voxels, classes: this.known(), drawn, replace: this.conflict });
      } catch (error) {
        if (!(error instanceof api.Refusal) || error.status !== 409) throw error;
        this.conflict = error.body.slices;
        return this.say(error.message, 'bad');
      }
      this.conflict = [];
      map.commit();
      map.saw(answer.submissions, slices);
      // What was drawn on while the answer came is still to be submitted.
      slices.filter(k => same(map.slice(k), map.part(voxels, k))).forEach(k => map.dirty.delete(k));
      this.keep(map);
      this.clearPoints();
      this.say(receipt(answer), answer.kept.length ? '' : 'good');
    });
  }

  /** Give way to what somebody else submitted of the slices in question; undo brings ours back. */
  private async theirs(): Promise<void> {
    await this.work('Fetching', async map => {
      map.commit();
      const { head, voxels } = await api.getLabelmap(map.series);
      const slices = this.conflict;
      map.write(new Map(slices.map(k => [k, map.part(voxels, k)])), false);
      slices.forEach(k => map.dirty.delete(k));
      map.saw(head.submissions, slices);
      this.conflict = [];
      this.keep(map);
      this.say(`${capital(slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, '');
    });
  }

  private async segment(): Promise<void> {
    await this.work('Segmenting', async map => {
      map.commit();
      const { head, voxels } = await api.segment(map.series);
      map.fill(voxels, head.submissions);
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
      this.keep(map);
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
    this.say(`Another study. Slice ${slice + 1}: its label would teach most.`, 'good');
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
      this.keep(map);
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
    this.keep(this.map);
    this.show();
  }

  private addClass(): void {
    const name = this.view.typed;
    const known = this.known();
    if (!name) return this.say('Type the name of the structure first.', 'bad');
    const there = known.find(one => one.name.toLowerCase() === name.toLowerCase());
    if (there) return this.choose(there.value);
    const value = Math.max(0, ...known.map(one => one.value)) + 1;
    const palette = this.state?.palette ?? [];
    this.pending.push({ name, value, color: palette[(value - 1) % palette.length] ?? [230, 75, 53], slices: 0 });
    this.view.typed = '';
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
      this.say((error as Error).message, 'bad');
    } finally {
      this.busy = '';
      this.show();
    }
  }

  private say(text: string, kind: Kind): void {
    this.view.say(text, kind);
  }

  private served(): string {
    return this.state?.trained ? `model ${this.state.model_version}` : 'the untrained answer';
  }

  private show(): void {
    const { state, map, chosen, tool, busy } = this;
    const submissions = state?.image?.submissions ?? {};
    const foreign = map?.outdated(submissions).filter(k => map.dirty.has(k)) ?? [];
    this.view.show({
      state,
      chosen,
      tool,
      busy,
      classes: this.known(),
      open: Boolean(map),
      steps: map?.steps ?? 0,
      dirty: map?.dirty.size ?? 0,
      conflict: this.conflict.length,
      problems: problems(state, foreign, this.unkept),
    });
    if (!this.overlay || !map) return;
    this.overlay.uncertainty = state?.image?.uncertainty ?? [];
    this.overlay.labelled = state?.image?.labelled ?? [];
    this.overlay.points = this.points;
    const pointing = tool === 'include' || tool === 'exclude';
    this.overlay.onPoint = pointing ? (i, j, k) => void this.point(i, j, k) : null;
    this.overlay.draw();
  }
}
