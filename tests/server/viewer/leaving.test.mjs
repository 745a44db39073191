// The page is left, by a person or by the panel itself: what is drawn is kept, or the page stays.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Closing, Journey, Submitting } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { goOn, labels, later, opened, server } from './fake_viewer.mjs';
import { MemoryStore } from './series.mjs';

const full = shown => (shown.kept.setItem = () => { throw new Error('full'); });

/** A panel in which the browser keeps nothing of what is drawn, and the addresses that the page is sent to. */
async function unkept() {
  Object.defineProperty(globalThis, 'sessionStorage', { value: new MemoryStore(), configurable: true });
  const made = await opened();
  const went = [];
  globalThis.location = { pathname: '/', assign: to => went.push(to) };
  full(made.shown);
  made.shown.pixels('ct', 1).set([0, 1]);
  return { ...made, went };
}

/** Whether the browser asks before it leaves the page. */
function asks() {
  const leaves = Object.defineProperty(new Event('beforeunload', { cancelable: true }), 'returnValue', { writable: true });
  globalThis.window.dispatchEvent(leaves);
  return leaves.defaultPrevented;
}

test('the panel does not leave the page while something drawn on it would be lost', async () => {
  for (const away of [false, true]) { // the drawing is on the open series, or on one that was left
    const made = await unkept();
    const { panel, went } = made;
    const journey = new Journey(panel);
    if (away) await goOn(made);
    const elsewhere = away ? 'ct' : 'mr';
    server(labels, async path => (path === '/fewsam/next' ? { ok: true, json: async () => ({ id: elsewhere, study: 's', slice: 2 }) } : undefined));
    sessionStorage.setItem('fewsam.trail', JSON.stringify([{ study: 's', series: elsewhere, slice: 1 }]));
    for (const leave of [() => journey.visit('s', elsewhere), () => journey.next(true), () => journey.back()]) {
      panel.said.length = 0;
      await leave();
      assert.match(panel.said.at(-1).text, /store is full.*Submit/);
    }
    assert.deepEqual([went, sessionStorage.getItem('fewsam.jump')], [[], null]);
    assert.equal(JSON.parse(sessionStorage.getItem('fewsam.trail')).length, 1); // where Back leads is not forgotten
  }
});

test('once what was drawn is submitted the panel leaves the page', async () => {
  const { panel, went } = await unkept();
  const none = { added: [1], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  server(labels, async path => (path === '/fewsam/label' ? { ok: true, json: async () => ({ ...none, submissions: { 0: 7, 1: 8 } }) } : undefined));
  await new Submitting(panel).submit();
  new Journey(panel).visit('s', 'mr');
  assert.equal(went.length, 1);
});

test('the browser asks before it leaves a page whose drawings it does not keep, and only then', async () => {
  const made = await opened();
  const { shown, opening } = made;
  const closing = new Closing(opening);
  shown.pixels('ct', 1).set([0, 1]);
  assert.equal(asks(), false);
  full(shown);
  assert.equal(asks(), true);
  await goOn(made);
  assert.equal(asks(), true);
  closing.close();
  assert.equal(asks(), false);
});

test('a stroke on a series that one has just returned to is kept when the page is closed, or the panel', async () => {
  for (const leave of [() => globalThis.window.dispatchEvent(new Event('pagehide')), opening => opening.close()]) {
    const made = await opened();
    const { shown, opening } = made;
    const closing = new Closing(opening);
    await goOn(made);
    shown.pixels('mr', 2).set([1, 0]);
    shown.show('ct'); // the next look is still to come
    shown.pixels('ct', 1).set([1, 1]);
    leave(opening);
    closing.close();
    const drafts = [...shown.kept.values].map(([name, draft]) => [name.split('|')[1], Object.keys(JSON.parse(draft).slices)]);
    assert.deepEqual(drafts.sort(), [['ct', ['1']], ['mr', ['2']]]);
  }
});

/** A draft of a page that crashed ``ago`` ms before now. */
function crashed(shown, k, ago, runs = [1, 2]) {
  const slices = { [k]: { seen: 0, runs } };
  shown.kept.setItem('fewsam.draft|ct|gone', JSON.stringify({ alive: Date.now() - ago, depth: 3, slices }));
}

test('what was drawn before a crash is put back once that page has gone silent, where nothing is drawn, and that is said', async () => {
  const { panel, shown, opening } = await opened();
  crashed(shown, 1, 10_000);
  opening.putBack();
  assert.deepEqual([panel.map.session.slices.dirty, shown.kept.length], [[], 1]); // it may be open in another window
  crashed(shown, 1, 200_000);
  shown.press('mousedown');
  opening.putBack();
  assert.deepEqual(panel.map.session.slices.dirty, []);
  shown.press('mouseup');
  opening.putBack();
  assert.deepEqual([panel.map.session.slices.dirty, [...shown.pixels('ct', 1)]], [[1], [1, 1]]);
  assert.match(panel.said.at(-1).text, /^Slice 2: drawn here before and not submitted; put back\.$/);
  const said = panel.said.length;
  opening.putBack();
  assert.equal(panel.said.length, said);
});

test('a draft is not put back in the midst of work on a slice that undo or redo leads back to', async () => {
  const { panel, shown, opening } = await opened();
  panel.map.render(panel.map.session.draw(new Map([[1, Uint8Array.of(0, 1)]])));
  panel.map.render(panel.map.session.undo());
  crashed(shown, 1, 200_000);
  opening.putBack();
  assert.deepEqual([panel.map.session.slices.dirty, panel.map.session.slices.redoSteps, shown.kept.length], [[], 1, 1]);
});

test('a computer that slept has made every page silent: the others say first that they are open', async () => {
  const now = Date.now;
  let slept = 0;
  Date.now = () => now() + slept;
  try {
    const { panel, shown, opening } = await opened();
    slept = 3_600_000;
    crashed(shown, 1, 200_000);
    opening.putBack();
    assert.deepEqual(panel.map.session.slices.dirty, []);
    opening.putBack(); // the next look, and nobody has said so
    assert.deepEqual(panel.map.session.slices.dirty, [1]);
  } finally {
    Date.now = now;
  }
});
