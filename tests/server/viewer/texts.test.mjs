// What the panel says.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Learning, texts } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

test('a long message is cut at a sentence, and nothing of it is lost', () => {
  assert.deepEqual(texts.inShort('Short.\nA note.'), ['Short.', 'A note.']);
  const long = `${'One sentence of some length. '.repeat(6)}End.`;
  const [short, more] = texts.inShort(long);
  assert.ok(short.length <= 84 && short.endsWith('.'));
  assert.equal(`${short} ${more}`, long);
});

test('a receipt says why the PACS has not taken the label', () => {
  const none = { added: [1], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  assert.match(texts.receipt({ ...none, waiting_for_pacs: 1, pacs_reason: 'the header has no PatientID' }), /no PatientID/);
  assert.doesNotMatch(texts.receipt({ ...none, waiting_for_pacs: 0 }), /PACS/);
});

test('a receipt of a label that is kept beside another one does not say that nothing is new', () => {
  const none = { added: [], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  assert.equal(texts.receipt({ ...none, beside: [2] }), 'Yours is kept beside the label of slice 3, which stays in force.');
  assert.match(texts.receipt({ ...none, beside: [] }), /Nothing new/);
});

test('what came of a training is said in steps, seconds and Dice of the slices held back', () => {
  const training = { state: 'done', steps: 260, seconds: 44.6, limits: { steps: 600, train_seconds: 45 }, measured_on: [1, 2], best_metric: 0.812, previous_metric: 0.74 };
  const { text, kind } = texts.trained({ training, model_version: 2, trained: true }, 1);
  assert.equal(kind, 'good');
  assert.match(text, /Model 2 is live\./);
  assert.match(text, /On 2 slices held back its Dice is 0\.81, 0\.74 before\./);
  assert.match(text, /stopped early, after 260 of 600 steps in 45 s: this machine is slow/);
  const whole = texts.trained({ training: { ...training, steps: 600, measured_on: [] }, model_version: 1, trained: true }, 1).text;
  assert.match(whole, /not better than what is served; model 1 stays\.\nIt took 600 steps in 45 s\./);
  const stopped = { state: 'stopped', kind: 'labelled', steps: 260, best_metric: 0 };
  assert.match(texts.trained({ training: stopped, model_version: 1, trained: true }, 1).text, /^Training stopped;/);
  const further = texts.trained({ training: { ...stopped, kind: 'unlabelled' }, model_version: 1, trained: true }, 1);
  assert.match(further.text, /^Learning from unlabelled images stopped;/);
  const running = { running: true, state: 'running', step: 12, seconds: 3.2, limits: { steps: 600, train_seconds: 45 } };
  assert.equal(texts.progress({ training: running }, ''), 'training, step 12 of 600, 3 s');
  assert.equal(texts.done({ step: 150, seconds: 9, limits: { steps: 600, train_seconds: 45 } }), 0.25);
  assert.equal(texts.done({ step: 12, seconds: 36, limits: { steps: 600, train_seconds: 45 } }), 0.8); // the clock ends it
  assert.equal(texts.done({}), undefined);
});

test('that an answer will improve is not folded away', () => {
  const head = { trained: false, shots: 10, unencoded: Array.from({ length: 127 }, (_, k) => k), notes: ['untrained'] };
  const [shown, folded] = texts.inShort(texts.answer(head, 0));
  assert.equal(shown, 'Untrained answer, from 10 labelled slices. 127 slices improve once they are encoded.');
  assert.equal(folded, 'untrained');
});

test('the line below the progress counts down what the encoder still has to do for the open series', () => {
  const said = (encoding, image = {}) =>
    texts.progress({ training: {}, trained: true, model_version: 3, encoding, image: { id: 'ct', slices: 44, encoded: false, ...image } }, '');
  const here = { state: 'encoding', image: 'ct', slices_done: 17, slices_total: 44 };
  assert.equal(said({ ...here, views: { done: 35, total: 39 } }), 'Encoding: 31 left');
  assert.equal(said(here), 'Encoding: 27 left');
  assert.equal(said({ ...here, image: 'another' }), 'Encoding: 44 left');
  const live = 'Model 3 is live.';
  assert.equal(said(here, { encoded: true }), live);
  assert.equal(said({ ...here, error: 'the disk is full' }), live);
  assert.equal(said({ state: 'done' }), live);
});

test('a series is greeted with what can be done there', () => {
  const greeting = (slices, known) => texts.greeting({ drawn: [], served: false, ...known }, { back: 0, misfits: 0 }, { structures: [{ slices }], encoder: {} });
  assert.match(greeting(0, {}), /^Draw a structure on two or three slices, then Submit\.$/);
  assert.match(greeting(3, {}), /^Segment this series with what was learnt from the other ones, or draw on it\.$/);
  assert.equal(greeting(3, { served: true }), 'The last segmentation is shown.');
  assert.equal(greeting(3, { drawn: [4] }), '1 slice of this series labelled.');
  const grown = texts.greeting({ drawn: [4], served: false }, { back: 0, misfits: 2 }, { structures: [], encoder: {} });
  assert.match(grown, /2 slices that you drew before the series had other slices are not put back; this browser keeps them\./);
});
