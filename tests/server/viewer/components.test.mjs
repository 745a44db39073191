// The panel's components, drawn as text from a store: what is shown, what can be pressed, and why not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { App, Store, h, render } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

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

const html = store => render(h(App, { store, acts: {} }));

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
  store.conflict.value = [1];
  assert.match(element(store, 'submit'), /Submit mine \(1 slice\)/);
  assert.match(html(store), /fewsam-theirs/);
});

test('a stored segmentation on the screen blocks the tools', () => {
  const store = panel({ aside: true });
  assert.ok(disabled(store, 'brush') && disabled(store, 'include'));
  assert.match(element(store, 'brush'), /stored segmentation/);
});

test('the history of a slice offers to restore, and to take the present label back', () => {
  const shot = { shot: 1, time: '2026-01-01T10:00:00Z', annotator: 'ann', source: 'viewer', structures: ['liver'], withdrawn: false };
  const store = panel({ history: [{ ...shot, shot: 2, current: true }, { ...shot, current: false }, { ...shot, shot: 3, withdrawn: true }] });
  const text = element(store, 'history');
  assert.deepEqual([...text.matchAll(/class="small (\w+)"/g)].map(found => found[1]), ['unlabel', 'restore']);
  assert.match(text, /ann: liver/);
  assert.match(text, /label taken back/);
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
