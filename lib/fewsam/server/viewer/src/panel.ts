/** The panel: the whole loop in one place. OHIF may take it down and up: what it shows is in the store, not in the DOM. */

import { h, render } from 'preact';
import { type Desk, onScreen } from './acts/desk';
import { Journey } from './acts/journey';
import { Asides } from './acts/aside';
import { Closing } from './acts/closing';
import { Editing } from './acts/editing';
import { Judging } from './acts/judging';
import { Keys } from './acts/keys';
import { Labwork } from './acts/labwork';
import { Learning } from './acts/learning';
import { Naming } from './acts/naming';
import { Opening } from './acts/opening';
import { Pointing } from './acts/pointing';
import { Polling } from './acts/polling';
import { Prompting } from './acts/prompting';
import { Submitting } from './acts/submitting';
import { Tracing } from './acts/tracing';
import { Watching } from './acts/watching';
import { Working } from './acts/working';
import * as api from './api';
import type { Acts, Command } from './commands';
import { App } from './components/app';
import { Lab } from './lab';
import { type Look, keep, kept } from './model/look';
import type { Head } from './model/session';
import { Structures } from './model/structures';
import { type Answer, type Kind, type Open, Store } from './store';
import { Drag } from './viewer/drag';
import type { Labelmap } from './viewer/labelmap';
import { Lasso } from './viewer/lasso';
import { showPanel } from './viewer/ohif';
import { type Hand, Overlay } from './viewer/overlay';
import { Toolbox } from './viewer/tools';

export class Panel implements Desk {
  readonly root = document.createElement('div');
  readonly store = new Store();
  readonly structures = new Structures();
  map: Labelmap | null = null;
  private overlay: Overlay | null = null;
  private toolbox = new Toolbox(this.store);
  private journey = new Journey(this);
  private lab = new Lab();
  private labwork = new Labwork(this, this.lab, (study, series) => this.journey.visit(study, series));
  private tracing = new Tracing(this);
  private working = new Working(this);
  private learning = new Learning(this);
  private prompting = new Prompting(this);
  private pointing = new Pointing(this, this.prompting);
  private editing = new Editing(this);
  private acts = this.made();
  private keys = new Keys(this.store, this.acts, () => this.structures.all, () => this.root.offsetParent !== null);
  private hands: Partial<Record<string, Hand>> = {
    include: { down: at => this.pointing.point(at) },
    exclude: { down: at => this.pointing.point(at) },
    scribble: new Drag('scribble', (...stroke) => this.prompting.stroke(...stroke)),
    box: new Drag('box', (...stroke) => this.prompting.stroke(...stroke)),
    lasso: new Lasso((places, k, erase) => this.editing.area(places, k, erase), () => this.overlay?.redraw()),
  };
  private asides = new Asides(this);
  private watching = new Watching(this, this.toolbox, this.asides);
  private opening: Opening;
  private closing: Closing;
  private polling = new Polling(this, [() => this.opening.follow(), async () => this.opening.putBack(), () => this.refresh()]);
  private asked = 0; // questions to the server for its state
  private answered = 0; // number of the latest of them that was answered

  constructor(id: string) {
    this.opening = new Opening(this, {
      nothing: () => this.journey.stranded(),
      opened: map => {
        this.overlay = new Overlay(map);
        map.dress(this.store.look.value);
        showPanel(id);
        this.journey.arrive();
        this.show();
      },
      left: () => {
        this.overlay?.close();
        this.overlay = null;
      },
    });
    this.root.id = 'fewsam-panel';
    this.store.look.value = kept(localStorage);
    render(h(App, { store: this.store, acts: this.acts, lab: this.lab }), this.root);
    this.closing = new Closing(this.opening);
    this.show();
    void this.polling.look();
  }

  /** The mode was left: nothing of ours stays over the viewport. */
  close(): void {
    this.polling.close();
    this.watching.close();
    this.asides.close();
    this.keys.close();
    this.closing.close();
    this.opening.close();
    render(null, this.root);
  }

  private made(): Acts {
    const submitting = new Submitting(this);
    const naming = new Naming(this);
    const judging = new Judging(this);
    const commands: Record<Command, () => void> = {
      submit: () => void submitting.submit(),
      theirs: () => void submitting.theirs(),
      both: () => void submitting.submit([], true),
      segment: () => void this.learning.segment(),
      train: () => void this.learning.train(),
      improve: () => void this.learning.improve(),
      next: () => void this.journey.next(),
      skip: () => void this.journey.skip(),
      back: () => this.journey.back(),
      undo: () => this.step('undo'),
      redo: () => this.step('redo'),
      clear: () => this.pointing.clear(),
      right: () => judging.right(),
      holes: () => this.editing.holes(),
      smooth: () => this.editing.smooth(),
      islands: () => this.editing.islands(),
      copy: () => this.editing.copy(),
      interpolate: () => this.editing.interpolate(),
      absent: () => judging.absent(),
      in3D: () => this.asides.in3D(),
      add: () => void naming.add(this.store.typed.value.trim()),
    };
    return {
      press: command => commands[command](),
      pick: tool => this.pick(tool),
      choose: value => this.choose(value),
      size: radius => this.toolbox.size(radius),
      dress: changes => this.dress({ ...this.store.look.value, ...changes }),
      rename: (structure, name) => void naming.rename(structure, name),
      remove: structure => naming.askToDelete(structure),
      trace: unfolded => {
        this.store.tracing.value = unfolded;
        void this.tracing.look();
      },
      lab: this.labwork,
      history: (act, shot) => void this.tracing[act](shot),
    };
  }

  // -- what the server says

  async refresh(): Promise<void> {
    const turn = ++this.asked;
    const state = await api.getState(this.map?.series, this.map?.geometry.current());
    if (turn < this.answered) return; // a later question was answered first: this is how things were
    this.answered = turn;
    this.store.server.value = state;
    if (this.structures.update(state.structures)) this.map?.segments();
    this.learning.look(state);
    await this.opening.catchUp();
    await this.tracing.look();
    await this.labwork.look();
    this.show();
  }

  overtake(): void {
    this.answered = ++this.asked;
  }

  async fetch(): Promise<boolean> {
    const map = this.map;
    if (!map) return false;
    const { head, voxels } = await api.getLabelmap(map.series);
    return (await this.take(map, voxels, head as Head)) !== null;
  }

  async take(map: Labelmap, voxels: Uint8Array, head: Head): Promise<number[] | null> {
    await map.released();
    if (this.map !== map) return null;
    map.commit(); // what was drawn while the answer came stays
    const changed = map.session.receive(voxels, head);
    map.render(changed);
    return changed;
  }

  work(what: string, todo: (map: Labelmap) => Promise<void>, of = this.map): Promise<void> {
    return this.working.work(what, todo, of);
  }

  keep(): boolean {
    return this.opening.keep();
  }

  // -- what a person does

  choose(value: number): void {
    this.store.chosen.value = value;
    this.map?.choose(value);
    this.show();
  }

  private pick(tool: string): void {
    if (!this.map) return;
    if (!this.structures.all.length) return this.say('Name a structure first: type it in the list of structures, and Add.', 'bad');
    this.map.choose(this.store.chosen.value);
    this.toolbox.pick(tool, this.map.viewportId);
    if (!this.store.tool.value) this.say('The tool is put away: the left button sets window and level.', '');
    this.show();
  }

  private dress(look: Look): void {
    this.store.look.value = look;
    keep(localStorage, look);
    this.map?.dress(look);
  }

  private step(way: 'undo' | 'redo'): void {
    const map = onScreen(this);
    if (!map) return;
    map.commit();
    const changed = map.session[way]();
    if (!changed) return this.say(`Nothing to ${way}.`, '');
    map.render(changed);
    this.show();
  }

  // -- what is shown

  say(text: string, kind: Kind, answers: Answer[] = []): void {
    this.store.say(text, kind, answers);
  }

  show(): void {
    const { store, map, overlay } = this;
    const image = store.server.value?.image;
    store.back.value = this.journey.canGoBack;
    changed(store.structures, this.structures.all.map(one => ({ ...one })));
    changed(store.open, map && opened(map, image));
    if (!overlay) return;
    overlay.hand = this.hands[store.tool.value] ?? null;
    overlay.draw({ uncertainty: image?.uncertainty ?? [], labelled: image?.labelled ?? [], changed: store.changed.value });
  }
}

function opened(map: Labelmap, image?: api.ImageState): Open {
  const { slices, kept } = map.session;
  const { dirty, undoSteps, redoSteps } = slices;
  const slice = map.geometry.current();
  const drawn = slices.isConfirmed(slice) ? 'confirmed' : 'drawn';
  const sliceIs = slices.isDirty(slice) ? drawn : image?.labelled.includes(slice) ? 'labelled' : '';
  const foreign = slices.outdated(image?.submissions ?? {}).filter(k => slices.isDirty(k));
  return { series: map.series, slice, sliceIs, dirty, undoSteps, redoSteps, foreign, kept };
}

/** Set a signal where its value is another one: what did not change is not drawn again. */
function changed<T>(signal: { value: T }, value: T): void {
  if (JSON.stringify(signal.value) !== JSON.stringify(value)) signal.value = value;
}
