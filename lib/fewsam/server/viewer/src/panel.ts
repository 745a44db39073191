/** The panel: the whole loop in one place. State lives here, not in the DOM: OHIF may take the panel down and up. */

import * as api from './api';
import { Journey } from './journey';
import { Labelmap } from './labelmap';
import { active, showPanel, showSeries, storedSegmentation } from './ohif';
import { corrected } from './points';
import { Head } from './session';
import { Overlay } from './strip';
import { Structure, Structures } from './structures';
import * as texts from './texts';
import { Toolbox } from './tools';
import { Tracing } from './tracing';
import { Button, Kind, View } from './view';

const FOLLOW = 400; // ms between two looks at what the viewer has in hand

export class Panel {
  readonly view: View;
  map: Labelmap | null = null;
  private state: api.State | null = null;
  private structures = new Structures();
  private overlay: Overlay | null = null;
  private opening = '';
  private chosen = 1;
  private toolbox = new Toolbox();
  private journey = new Journey(this);
  private tracing = new Tracing(this);
  private conflict: number[] = []; // slices the server asked about: somebody else submitted them meanwhile
  private busy = '';
  private queue: Promise<void> = Promise.resolve(); // clicks made while another one is computed
  private answered = false; // the model's answer to all labels is shown
  private recovering = false;
  private aside = false; // the viewer shows a stored segmentation instead of the images
  private lost = false;
  private wasTraining = false;
  private trainedFrom = 0;
  private timer = 0;
  private ticker = 0;
  private waited = 0; // looks without an open series

  constructor(private id: string) {
    const acts: Record<Button, () => void> = {
      submit: () => void this.submit(),
      theirs: () => void this.theirs(),
      segment: () => void this.segment(),
      train: () => void this.train(),
      next: () => void this.journey.next(),
      skip: () => void this.journey.skip(),
      back: () => this.journey.back(),
      undo: () => this.step('undo'),
      redo: () => this.step('redo'),
      clear: () => this.clearPoints(),
      add: () => void this.addStructure(this.view.typed),
    };
    this.view = new View({
      press: button => acts[button](),
      pick: tool => this.pick(tool),
      choose: value => this.choose(value),
      size: radius => this.toolbox.size(radius),
      rename: (structure, name) => void this.rename(structure, name),
      remove: structure => this.askToDelete(structure),
      history: (act, shot) => void this.tracing[act](shot),
    });
    this.view.onTrace(() => void this.tracing.look());
    window.addEventListener('keydown', this.keys, true);
    window.addEventListener('pagehide', this.closing);
    this.ticker = window.setInterval(() => this.tick(), FOLLOW);
    this.show();
    void this.poll();
  }

  get root(): HTMLElement {
    return this.view.root;
  }

  /** The mode was left: nothing of ours stays over the viewport. */
  close(): void {
    window.clearTimeout(this.timer);
    window.clearInterval(this.ticker);
    window.removeEventListener('keydown', this.keys, true);
    window.removeEventListener('pagehide', this.closing);
    this.leave();
  }

  private closing = (): void => {
    this.map?.commit();
    this.map?.session.keep(true);
  };

  // -- what the server says

  private async poll(): Promise<void> {
    window.clearTimeout(this.timer);
    try {
      await this.follow();
      await this.refresh();
      this.map?.session.keep(); // says that this page is alive
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
    if (!now && !this.map && ++this.waited === 4 && !this.journey.stranded()) {
      const marked = 'The viewer marks what it cannot show with a triangle in the list on the left.';
      this.say(`No image series is open. Double-click one in the list. ${marked}`, '');
    }
    if (!now || this.opening === series + now.viewportId) return;
    if (this.map?.series === series && this.map.viewportId === now.viewportId) return;
    this.opening = series + now.viewportId;
    try {
      this.leave();
      this.state = await api.getState(series);
      this.structures.update(this.state.structures);
      const map = await Labelmap.open(now.viewportId, now.displaySet, this.structures);
      const known = await api.getLabelmap(series);
      const drafts = map.session.open(known.voxels, known.head as Head);
      map.render(Array.from({ length: map.session.slices.depth }, (_, k) => k));
      map.onStroke = () => this.show();
      this.map = map;
      this.overlay = new Overlay(map);
      this.answered = known.head.served;
      texts.numbering.of = k => map.geometry.frameOf(k) + 1;
      showPanel(this.id);
      this.choose(this.structures.of(this.chosen) ? this.chosen : (this.structures.all[0]?.value ?? 1));
      this.say(texts.greeting(known.head, drafts.length, this.state), '');
      this.journey.arrive();
    } finally {
      this.opening = '';
    }
  }

  private leave(): void {
    if (this.map) {
      this.map.commit();
      this.map.session.keep(true);
      this.map.close();
    }
    this.overlay?.close();
    this.map = this.overlay = null;
    this.aside = false;
    this.conflict = [];
  }

  async refresh(): Promise<void> {
    this.state = await api.getState(this.map?.series);
    const before = this.structures.all.length;
    if (this.structures.update(this.state.structures)) {
      this.map?.segments();
      if (this.structures.all.length < before) await this.fetch();
    }
    const { training, model_version } = this.state;
    if (this.wasTraining && !training.running) {
      const notes = (training.notes ?? []).map(note => `\n${note}`).join('');
      if (training.state === 'failed') this.say(`Training failed: ${training.error}`, 'bad');
      else if (model_version > this.trainedFrom) this.say(`Model ${model_version} is live. Segment again to use it.${notes}`, 'good');
      else this.say(`The trained model was not better than what is served; ${this.served()} stays.${notes}`, '');
      this.answered = false;
    }
    this.wasTraining = Boolean(training.running);
    await this.catchUp();
    await this.tracing.look();
    this.show();
  }

  /** Show what was submitted from elsewhere, but on slices that are drawn on here. */
  private async catchUp(): Promise<void> {
    const [map, image] = [this.map, this.state?.image];
    if (!map || image?.id !== map.series || map.drawing) return;
    map.commit();
    const stale = map.session.slices.stale(image.submissions);
    if (!stale.length || !(await this.fetch())) return;
    if (!this.busy) this.say(`${texts.capital(texts.slicesOf(stale))}: submitted from elsewhere, and shown here now.`, '');
  }

  /** Take what the server has of the open series; false where another one was opened meanwhile. */
  async fetch(): Promise<boolean> {
    const map = this.map;
    if (!map) return false;
    const { head, voxels } = await api.getLabelmap(map.series);
    return this.take(map, voxels, head as Head);
  }

  private async take(map: Labelmap, voxels: Uint8Array, head: Head): Promise<boolean> {
    await map.released();
    if (this.map !== map) return false;
    map.commit(); // what was drawn while the answer came stays
    map.render(map.session.receive(voxels, head));
    return true;
  }

  // -- what the viewer says

  /** Follow what the person does with the viewer's own buttons, and mend what that took away. */
  private tick(): void {
    const map = this.map;
    if (!map || this.recovering || this.opening) return;
    if (this.aside !== (storedSegmentation() !== null)) this.turnAside(map);
    if (this.aside) return;
    if (!map.intact) return void this.recover(map);
    if (!map.isActive) {
      map.activate();
      this.say('Another segmentation was opened. What you draw goes on in the structures listed here.', '');
    }
    const strangers = map.strangers();
    for (const { value, label } of strangers) this.structures.addUnnamed(label, value);
    if (strangers.length) this.say(`${strangers[0].label} has no name yet. Name it in the list below; then it can be submitted.`, 'bad');
    const [chosen, tool] = [map.chosen, this.toolbox.current];
    if (chosen !== null && chosen !== this.chosen && this.structures.of(chosen)) this.chosen = chosen;
    this.toolbox.follow(map.viewportId);
    if (strangers.length || tool !== this.toolbox.current || chosen !== this.chosen) this.show();
  }

  /** The viewer shows a stored segmentation instead of the images, or the images again. */
  private turnAside(map: Labelmap): void {
    this.aside = !this.aside;
    if (this.aside) {
      const { viewportId } = storedSegmentation()!;
      this.toolbox.current = '';
      this.view.say('This is a segmentation as it is stored; nothing can be drawn on it here. Yours is kept.', 'asks', [
        { label: 'Back to drawing', act: () => showSeries(viewportId, map.displaySetId) },
      ]);
    } else this.say('Drawing goes on in the structures listed here.', '');
    this.show();
  }

  private async recover(map: Labelmap): Promise<void> {
    if (active()?.displaySet.SeriesInstanceUID !== map.series) return; // another series is being opened
    this.recovering = true;
    try {
      await map.recover();
      this.choose(this.chosen);
      this.say('The viewer took the labelmap away; it is back, with what you drew.', 'bad');
    } catch (error) {
      this.say(`The viewer took the labelmap away: reload the page; what you drew is kept. (${(error as Error).message})`, 'bad');
    } finally {
      this.recovering = false;
    }
  }

  // -- what a person does

  private async submit(empty: number[] = []): Promise<void> {
    await this.work('Submitting', async map => {
      map.commit();
      const submission = map.session.submission();
      if (!submission) return this.say('Nothing to submit: no slice was changed by hand.', 'bad');
      let answer: any;
      try {
        answer = await api.submit(map.series, submission, { replace: this.conflict, empty });
      } catch (error) {
        if (!(error instanceof api.Refusal) || error.status !== 409) throw error;
        return this.asked(error.body);
      }
      this.conflict = [];
      this.answered = false;
      map.commit();
      map.session.submitted(submission, answer.submissions, [...answer.kept, ...answer.untouched]);
      this.say(texts.receipt(answer), answer.kept.length ? '' : 'good');
    });
  }

  /** The server asks before it takes a submission. */
  private asked(body: { slices?: number[]; who?: string; empty?: number[] }): void {
    if (body.empty?.length) {
      const empty = body.empty;
      const yes = { label: 'Nothing is there', act: () => void this.submit(empty) };
      const no = { label: 'Put the labels back', act: () => this.putBack(empty) };
      return this.view.say(texts.emptied(empty), 'asks', [yes, no]);
    }
    this.conflict = body.slices ?? [];
    this.say(texts.conflict(this.conflict, body.who ?? ''), 'bad');
  }

  private putBack(slices: number[]): void {
    this.map?.render(this.map.session.discard(slices));
    this.say(`${texts.capital(texts.slicesOf(slices))}: as submitted. Undo brings your change back.`, '');
    this.show();
  }

  /** Give way to what somebody else submitted of the slices in question; undo brings ours back. */
  private async theirs(): Promise<void> {
    await this.work('Fetching', async map => {
      const slices = this.conflict;
      if (!(await this.fetch())) return;
      map.render(map.session.discard(slices));
      this.conflict = [];
      this.say(`${texts.capital(texts.slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, '');
    });
  }

  private async segment(): Promise<void> {
    await this.work('Segmenting', async map => {
      map.commit();
      const { head, voxels } = await api.segment(map.series);
      if (!head.shots) return this.say((head.notes ?? ['There is no label to learn from yet.']).join('\n'), 'bad');
      await this.take(map, voxels, head as Head);
      map.session.points = [];
      this.answered = true;
      const dirty = map.session.slices.dirty.length;
      const kept = dirty ? ` ${texts.count(dirty, 'slice')} drawn and not submitted: left as drawn.` : '';
      const model = head.trained ? `Model ${head.model_version}` : 'Untrained answer';
      const notes = (head.notes ?? []).join('\n');
      this.say(`${model}, from ${texts.count(head.shots, 'labelled slice')}.${kept}\n${notes}`.trim(), head.trained ? 'good' : '');
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

  /** A click is answered in its turn, also one that was made while another is computed. */
  private point(i: number, j: number, k: number): void {
    const structure = this.structures.of(this.chosen);
    const include = this.toolbox.current === 'include';
    if (!structure) return this.say('Choose a structure first.', 'bad');
    const { value, name } = structure;
    this.queue = this.queue.then(() =>
      this.work('Correcting', async map => {
        map.commit();
        const session = map.session;
        // Whoever clicks a pixel again has changed their mind about it.
        const before = session.points.filter(one => one.i !== i || one.j !== j || one.k !== k || one.value !== value);
        const all = [...before, { i, j, k, include, value }];
        const points = all.filter(one => one.k === k && one.value === value);
        const side = (wanted: boolean): number[][] => points.filter(one => one.include === wanted).map(one => [one.i, one.j]);
        const body = { image: map.series, slice: k, label: name, include: side(true), exclude: side(false) };
        const { voxels } = await api.correct(body);
        await map.released();
        map.commit();
        const width = map.geometry.planes[k].columns;
        map.render(session.correct(k, corrected(session.slices.shown(k), voxels, value, points, width), all));
        this.say(`${name}: ${texts.count(points.length, 'point')} on ${texts.slicesOf([k])}. Submit when it is right.`, '');
      }),
    );
  }

  private clearPoints(): void {
    if (this.map) this.map.session.points = [];
    this.show();
  }

  private step(way: 'undo' | 'redo'): void {
    if (!this.map) return;
    this.map.commit();
    const changed = this.map.session[way]();
    if (!changed) return this.say(`Nothing to ${way}.`, '');
    this.map.render(changed);
    this.show();
  }

  private async addStructure(name: string): Promise<void> {
    if (!name) return this.say('Type the name of the structure first.', 'bad');
    const there = this.structures.named(name);
    if (there?.id) return this.choose(there.value);
    if (await this.restructure(() => api.addStructure(name))) {
      this.view.typed = '';
      this.choose(this.structures.named(name)?.value ?? this.chosen);
    }
  }

  /** A new name for a structure of the server, or the first one of a segment that only this window has. */
  private async rename(structure: Structure, name: string): Promise<void> {
    if (structure.id) {
      await this.restructure(() => api.renameStructure(structure.id, name));
    } else if (this.structures.named(name)?.id) {
      this.say(`There is a ${name} already; choose another name.`, 'bad');
    } else if (await this.restructure(() => api.addStructure(name), () => void (structure.name = name))) {
      this.say(`${name} is a structure now.`, 'good');
    }
  }

  private askToDelete(structure: Structure): void {
    const { id, name, slices } = structure;
    if (!id) return;
    const kept = slices ? ` Its labels on ${texts.count(slices, 'slice')} stay in the history, and come back when a ${name} is added again.` : '';
    const act = (): void => void this.restructure(() => api.deleteStructure(id)).then(done => done && this.say(`${name} is deleted.`, ''));
    this.view.say(`Delete ${name} for everybody?${kept}`, 'asks', [
      { label: 'Delete', act },
      { label: 'Keep', act: () => this.say(`${name} stays.`, '') },
    ]);
  }

  private async restructure(change: () => Promise<any>, first = (): void => {}): Promise<boolean> {
    let done = false;
    await this.work('Changing structures', async map => {
      map.commit();
      const answer = await change();
      first();
      this.structures.update(answer);
      map.segments();
      await this.fetch();
      map.session.keep();
      done = true;
    });
    return done;
  }

  private choose(value: number): void {
    this.chosen = value;
    this.map?.choose(value);
    this.show();
  }

  private pick(tool: string): void {
    if (!this.map) return;
    if (!this.structures.all.length) return this.say('Name a structure first: type it above, and Add.', 'bad');
    this.map.choose(this.chosen);
    this.toolbox.pick(tool, this.map.viewportId);
    this.show();
  }

  private keys = (event: KeyboardEvent): void => {
    if (!(event.ctrlKey || event.metaKey) || (event.target instanceof HTMLInputElement && event.target.type === 'text')) return;
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.step(key === 'y' || event.shiftKey ? 'redo' : 'undo');
  };

  // -- what is shown

  async work(what: string, todo: (map: Labelmap) => Promise<void>): Promise<void> {
    while (this.busy && what === 'Correcting') await new Promise(done => window.setTimeout(done, 50));
    if (this.busy) return;
    if (!this.map) return this.say('Open a CT, MR or other image series first.', 'bad');
    this.busy = what;
    this.show();
    try {
      await this.map.released();
      await todo(this.map);
      await this.refresh();
    } catch (error) {
      this.say((error as Error).message, 'bad');
    } finally {
      this.busy = '';
      this.show();
    }
  }

  say(text: string, kind: Kind): void {
    this.view.say(text, kind);
  }

  private served(): string {
    return this.state?.trained ? `model ${this.state.model_version}` : 'the untrained answer';
  }

  show(): void {
    const { state, map, chosen, busy, overlay } = this;
    const session = map?.session;
    const slices = session?.slices;
    const foreign = slices?.outdated(state?.image?.submissions ?? {}).filter(k => slices.isDirty(k)) ?? [];
    this.view.show({
      state,
      chosen,
      busy,
      tool: this.toolbox.current,
      structures: this.structures.all,
      open: Boolean(map),
      aside: this.aside,
      undoSteps: slices?.undoSteps ?? 0,
      redoSteps: slices?.redoSteps ?? 0,
      dirty: slices?.dirty.length ?? 0,
      conflict: this.conflict.length,
      answered: this.answered,
      back: this.journey.canGoBack,
      slice: map ? texts.numbering.of(map.geometry.current()) : 0,
      history: this.tracing.shots,
      problems: texts.problems(state, foreign, session?.kept === false),
    });
    if (!overlay || !session) return;
    overlay.uncertainty = state?.image?.uncertainty ?? [];
    overlay.labelled = state?.image?.labelled ?? [];
    overlay.onPoint = this.toolbox.pointing ? (i, j, k) => this.point(i, j, k) : null;
    overlay.draw();
  }
}
