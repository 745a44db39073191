// The panel's components, drawn as text from a store: what is shown, what can be pressed, and why not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { App, Lab, Labwork, Store, h, render } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

const structure = (name, value, slices = 0) => ({ id: name, name, value, slices, color: [value, 0, 0] });
const server = (changes = {}) => ({
  structures: [], deleted: [], new_labels: true, model_version: 0, trained: false, training: {}, curve: [], problems: [], encoder: {},
  ...changes,
});
const opened = (changes = {}) => ({ series: 's', slice: 4, undoSteps: 0, redoSteps: 0, dirty: [], foreign: [], kept: true, ...changes });

function panel({ state = server(), open = opened(), ...signals } = {}) {
  const store = new Store();
  store.server.value = state;
  store.open.value = open;
  for (const [name, value] of Object.entries(signals)) store[name].value = value;
  return store;
}

const html = (store, lab = new Lab()) => render(h(App, { store, acts: {}, lab }));

/** The text of an element of the panel by its id, with its opening tag. */
function element(store, id) {
  const all = html(store);
  const start = all.lastIndexOf('<', all.indexOf(`id="fewsam-${id}"`));
  assert.ok(all.includes(`id="fewsam-${id}"`), `${id} is not shown`);
  return all.slice(start, all.indexOf(`</${/<(\w+)/.exec(all.slice(start))[1]}>`, start));
}
const disabled = (store, id) => /<\w+[^>]* disabled/.test(element(store, id));

test('without a series nothing can be pressed, and each button says why', () => {
  const store = panel({ open: null });
  for (const id of ['submit', 'segment', 'train', 'next', 'back', 'undo']) assert.ok(disabled(store, id), id);
  assert.match(element(store, 'submit'), /title="Open an image series first\."/);
});

test('one button stands out: what to do next', () => {
  const lit = store => [...html(store).matchAll(/<button id="fewsam-(\w+)" class="main/g)].map(found => found[1]);
  const liver = [structure('liver', 1)];
  const labelled = server({ structures: [structure('liver', 1, 2)] });
  assert.deepEqual(lit(panel()), ['add']);
  assert.deepEqual(lit(panel({ structures: liver })), ['brush']);
  assert.deepEqual(lit(panel({ structures: liver, open: opened({ dirty: [3, 4] }) })), ['submit']);
  assert.deepEqual(lit(panel({ structures: liver, state: labelled })), ['segment']);
  assert.deepEqual(lit(panel({ structures: liver, state: labelled, answered: true })), ['next']);
});

test('the list of structures shows counts, the chosen one, and asks for a name where there is none', () => {
  const stranger = { ...structure('Segment 2', 2), id: '' };
  const state = server({ image: { id: 's', counts: { liver: 3 }, notes: [], labelled: [], uncertainty: [], submissions: {} } });
  const list = html(panel({ state, structures: [structure('liver', 1, 5), stranger], chosen: 1 }));
  assert.match(list, /class="class on" data-name="liver"/);
  assert.match(list, /3 \/ 5/);
  assert.match(list, /placeholder="name Segment 2"/);
});

test('structures that are fixed offer no change that the server would refuse', () => {
  const list = new_labels => html(panel({ state: server({ new_labels }), structures: [structure('liver', 1)] }));
  for (const offered of ['Rename liver', 'Delete liver', 'id="fewsam-add"']) {
    assert.ok(list(true).includes(offered), offered);
    assert.ok(!list(false).includes(offered), offered);
  }
  assert.ok(list(false).includes('Hide liver'));
});

test('a question has its answers as buttons, and what is said has its kind', () => {
  const store = panel();
  store.say('Delete liver?', '', [{ label: 'Delete', act() {} }, { label: 'Keep', act() {} }]);
  assert.match(element(store, 'message'), /class="message asks"/);
  assert.match(html(store), /<button>Delete<\/button><button>Keep<\/button>/);
  store.say('No.', 'bad');
  assert.doesNotMatch(html(store), /<button>Keep/);
});

test('submit says how many slices, and whose, where somebody else was faster', () => {
  const store = panel({ structures: [structure('liver', 1)], open: opened({ dirty: [1] }) });
  assert.match(element(store, 'submit'), /Submit \(1 slice\)/);
  assert.doesNotMatch(html(store), /fewsam-theirs/);
  store.conflict.value = { 2: 5 }; // of a slice that is no longer drawn
  assert.doesNotMatch(html(store), /fewsam-theirs/);
  store.conflict.value = { 1: 5 };
  assert.match(element(store, 'submit'), /Submit mine \(1 slice\)/);
  assert.match(html(store), /fewsam-theirs/);
});

test('a stored segmentation on the screen blocks the tools', () => {
  const store = panel({ aside: 'stored' });
  assert.ok(disabled(store, 'brush') && disabled(store, 'include'));
  assert.match(element(store, 'brush'), /stored segmentation/);
});

test('a layout without slices blocks what is done on a slice, and submits what was drawn', () => {
  const store = panel({ aside: 'layout', structures: [structure('liver', 1)], open: opened({ dirty: [1] }) });
  for (const part of ['lasso', 'holes', 'right', 'next', 'skip']) assert.match(element(store, part), /No slices are shown/, part);
  assert.ok(!disabled(store, 'submit'));
  store.open.value = opened({});
  assert.ok(disabled(store, 'brush') && !/class="[^"]*main/.test(element(store, 'brush')), 'what cannot be done is not green');
});

test('the history of a slice offers to restore, and to take the present label back', () => {
  const shot = { shot: 1, time: '2026-01-01T10:00:00Z', annotator: 'ann', source: 'viewer', structures: ['liver'], withdrawn: false };
  const store = panel({ history: [{ ...shot, shot: 2, current: true }, { ...shot, current: false }, { ...shot, shot: 3, withdrawn: true }] });
  const text = element(store, 'history');
  assert.deepEqual([...text.matchAll(/class="small (\w+)"/g)].map(found => found[1]), ['unlabel', 'restore']);
  assert.match(text, /ann: liver/);
  assert.match(text, /label taken back/);
});

test('a message is short, a question is shown in full, and notes below are pointed at', () => {
  const long = 'This is the first sentence of the message. This is the second one, which is longer than the first one by far.';
  const store = panel();
  store.say(long, 'bad');
  assert.match(element(store, 'message'), /<details><summary>More<\/summary>This is the second one/);
  store.say(long, '', [{ label: 'Yes', act() {} }]);
  assert.doesNotMatch(element(store, 'message'), /<details>/);
  assert.doesNotMatch(html(store), /fewsam-noted/);
  store.server.value = server({ problems: [{ file: 'a.nii', problem: 'it is empty' }] });
  assert.match(element(store, 'noted'), /1 note/);
});

test('locked structures cannot be edited by a press, and hidden ones can be shown again', () => {
  const store = panel({ structures: [structure('liver', 1)], state: server({ structures: [structure('liver', 1, 2)] }) });
  assert.ok(!disabled(store, 'holes'));
  store.look.value = { ...store.look.value, locked: [1], hidden: [1] };
  assert.match(element(store, 'holes'), /title="liver is locked\."/);
  assert.match(html(store), /title="Unlock liver"/);
  assert.match(html(store), /title="Show liver"/);
});

test('a slice is confirmed once, and not where it is labelled or drawn', () => {
  const store = panel({ structures: [structure('liver', 1)], state: server({ structures: [structure('liver', 1, 2)] }) });
  assert.ok(!disabled(store, 'right'));
  for (const sliceIs of ['labelled', 'drawn', 'confirmed']) {
    store.open.value = opened({ sliceIs });
    assert.ok(disabled(store, 'right'), sliceIs);
  }
});

test('what is odd about the image and what the PACS could not take is said', () => {
  const image = { id: 's', counts: {}, notes: ['Two slices have one position.'], labelled: [], uncertainty: [], submissions: {} };
  const store = panel({ state: server({ image, pacs: { problem: 'it does not answer', waiting: 2 } }), open: opened({ kept: false }) });
  const text = element(store, 'problems');
  for (const part of ['Two slices have one position', 'does not answer', '2 labels kept here', "browser's store is full"]) {
    assert.ok(text.includes(part) || text.includes(part.replace("'", '&#39;')), part);
  }
});

test('the curve has a point for each submission that was compared', () => {
  const curve = [{ submission: 1, model_version: 0, dice: { liver: 0.5 } }, { submission: 2, model_version: 1, dice: { liver: 0.8, spleen: 1 } }];
  const text = element(panel({ state: server({ curve: [...curve, { submission: 3, model_version: 1, dice: {} }] }) }), 'curve');
  assert.equal(text.match(/<circle/g).length, 2);
  assert.match(text, /0\.90/);
});

// -- people and the worklist

const series = (image, changes = {}) => ({
  image, description: `series ${image}`, modality: 'CT', state: 'in progress', labelled_slices: 2, slices: 9, labelled_by: 'nora',
  people: [], mark: 0, marked_by: '', note: '', changed_since: false, ...changes,
});
const counts = { 'not started': 1, 'in progress': 1, unsure: 0, 'sent back': 0, done: 2, accepted: 1 };
function listed(all, changes = {}) {
  const lab = new Lab();
  lab.worklist.value = { studies: [{ study: 'st', patient: 'P1', date: '20260101', series: all }], counts, can_review: true, problem: '', ...changes };
  return lab;
}

test('a name is asked for once, and only where the server does not know who it is', () => {
  const asking = panel({ state: server({ person: '', ask_name: true }) });
  assert.match(html(asking), /id="fewsam-who"/);
  const known = new Lab();
  known.name.value = 'Nora';
  assert.doesNotMatch(html(asking, known), /id="fewsam-who"/);
  assert.doesNotMatch(html(panel({ state: server({ person: 'Nora', ask_name: false }) })), /id="fewsam-who"/);
  known.naming.value = true; // somebody else sits down
  assert.match(html(asking, known), /id="fewsam-who"/);
});

test('a name that the browser has no room for is taken, and that it will be asked for again is said', () => {
  const said = [];
  for (const room of [true, false]) {
    const setItem = () => { if (!room) throw new Error('full'); };
    Object.defineProperty(globalThis, 'localStorage', { value: { getItem: () => null, setItem }, configurable: true });
    const lab = new Lab();
    lab.typed.value = ' Nora ';
    lab.naming.value = true;
    new Labwork({ say: text => said.push(text) }, lab, null).name();
    assert.deepEqual([lab.name.value, lab.naming.value], ['Nora', false]);
  }
  delete globalThis.localStorage;
  assert.match(said[0], /name Nora from now on/);
  assert.match(said[1], /until the page is closed: the store of the browser is full/);
});

test('while a training runs its progress has the whole row', () => {
  const training = { running: true, step: 150, seconds: 9, limits: { steps: 600, train_seconds: 45 } };
  assert.match(element(panel({ state: server({ training }) }), 'progress'), /value="0.25"/);
  assert.doesNotMatch(html(panel({ state: server({ training }) })), /fewsam-improve/);
  assert.match(html(panel()), /fewsam-improve/);
});

test('the worklist says where each series stands, who is on it, and how many are done', () => {
  const lab = listed([series('s'), series('t', { state: 'sent back', people: ['olaf'], note: 'the dome' })]);
  const shown = html(panel(), lab);
  assert.match(shown, /3 of 5 series done/);
  assert.match(shown, /class="place in-progress">in progress/);
  assert.match(shown, /class="place sent-back">sent back/);
  assert.match(shown, /olaf/);
  assert.match(shown, /<button class="series on" disabled/); // the open one leads nowhere
});

test('an annotator marks what is open; only what is done can be reviewed, and only by reviewers', () => {
  assert.match(html(panel(), listed([series('s')])), /id="fewsam-done"/);
  assert.doesNotMatch(html(panel(), listed([series('s')])), /id="fewsam-(accept|reopen)"/);
  const done = [series('s', { state: 'done', mark: 3 })];
  assert.match(html(panel(), listed(done)), /id="fewsam-reopen"/);
  assert.match(html(panel(), listed(done)), /id="fewsam-sendback"/);
  assert.doesNotMatch(html(panel(), listed(done, { can_review: false })), /id="fewsam-accept"/);
});

test('results can be taken away once something is known of the series', () => {
  const nothing = html(panel(), listed([series('s', { labelled_slices: 0, state: 'not started' })]));
  assert.doesNotMatch(nothing, /format=dcm/);
  assert.match(nothing, /volumes\.csv/);
  assert.match(html(panel(), listed([series('s')])), /\/fewsam\/result\?image=s&amp;format=dcm/);
});

test('where two drew one slice, both labels can be kept', () => {
  assert.match(html(panel({ conflict: { 4: 5 }, open: opened({ dirty: [4] }) })), /id="fewsam-both"/);
});

test('a slice that two people labelled stands in the worklist with their Dice, and reviewers can choose', () => {
  const lab = listed([series('s')]);
  assert.doesNotMatch(html(panel(), lab), /Labelled by two people/);
  const reading = { reading: 3, annotator: 'olaf', structures: ['liver'], dice: { liver: 0.8123 } };
  lab.readings.value = [{ slice: 8, in_force: { annotator: 'nora', submission: 2 }, readings: [reading] }];
  assert.match(html(panel(), lab), /Slice 9: nora \(in force\) and olaf/);
  assert.match(html(panel(), lab), /Dice: liver 0\.81/);
  assert.match(html(panel(), lab), /Put in force/);
  const buttons = [...html(panel({ busy: 'Submitting' }), lab).matchAll(/<button class="small \w*" disabled title="Submitting …">(Show|Put in force)/g)];
  assert.deepEqual(buttons.map(found => found[1]), ['Show', 'Put in force']); // a press would be lost
  lab.worklist.value = { ...lab.worklist.value, can_review: false };
  assert.doesNotMatch(html(panel(), lab), /Put in force/);
});
