// A series is opened, left, and opened again, with a viewer and a server that are stood in for: what was drawn is there.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Labelmap, Labwork, Opening, Session, Submitting, Unfollowed, Watching } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { desk, gate, goOn, labels, later, liver, nothing, opened, server, viewer } from './fake_viewer.mjs';

const pixels = shown => [0, 1, 2].map(k => [...shown.pixels('ct', k)]);

test('on return to a series its labels are no drawing, and a draft is put back', async () => {
  const { panel, shown, opening } = await opened();
  shown.pixels('ct', 1).set([0, 1]);
  panel.map.commit();
  shown.show('mr');
  await opening.follow();
  shown.show('ct');
  server(labels, async path => {
    if (path !== '/fewsam/labelmap') return;
    shown.press('mouseup');
    await later(150); // longer than a labelmap waits after a stroke
  });
  await opening.follow();
  assert.deepEqual([panel.map.series, panel.map.session.slices.dirty], ['ct', [1]]);
  assert.deepEqual([panel.map.session.slices.seen(0), panel.map.session.slices.undoSteps], [7, 0]);
  assert.match(panel.said.at(-1).text, /1 slice drawn and not submitted: put back/);
  assert.deepEqual(Object.keys(JSON.parse([...shown.kept.values.values()][0]).slices), ['1']);
});

test('what is drawn on return to a series, before it is open again, is its first stroke, on what the server has now', async () => {
  const { panel, shown, opening } = await opened();
  shown.pixels('ct', 1).set([0, 1]);
  await goOn({ shown, opening });
  shown.show('ct');
  server({ ...labels, ct: [1, 1, 0, 0, 0, 1] }, async path => { // slice 2 was labelled by somebody else
    if (path !== '/fewsam/labelmap') return;
    shown.pixels('ct', 0).set([1, 0]); // an eraser on a label
    shown.pixels('ct', 1).set([1, 1]); // a brush on a draft
    shown.pixels('ct', 2).set([1, 0]);
  });
  await opening.follow();
  const { slices } = panel.map.session;
  assert.deepEqual(pixels(shown), [[1, 0], [1, 1], [1, 1]]);
  assert.deepEqual([slices.dirty, slices.undoSteps], [[0, 1, 2], 1]);
  panel.map.render(panel.map.session.undo());
  assert.deepEqual([pixels(shown), slices.dirty], [[[1, 1], [0, 1], [0, 1]], [1]]);
});

test('a stroke on a series that is left again before it was open is found on the next return', async () => {
  const { panel, shown, opening } = await opened();
  await goOn({ shown, opening });
  shown.show('ct');
  server(labels, async (path, series) => {
    if (path !== '/fewsam/labelmap' || series !== 'ct') return;
    shown.pixels('ct', 2).set([0, 1]);
    shown.show('mr');
  });
  await opening.follow();
  server(labels);
  await goOn({ shown, opening });
  assert.deepEqual(panel.map.session.slices.dirty, []);
  await goOn({ shown, opening }, 'ct');
  assert.deepEqual([panel.map.session.slices.dirty, [...shown.pixels('ct', 2)]], [[2], [0, 1]]);
});

test('a stroke on a labelmap that the viewer has just made is its first stroke', async () => {
  const [panel, shown] = [desk(), viewer()];
  const opening = new Opening(panel, nothing);
  server(labels);
  shown.show('ct');
  shown.showing = async () => shown.pixels('ct', 2).set([0, 1]);
  await opening.follow();
  assert.deepEqual([panel.map.session.slices.dirty, [...shown.pixels('ct', 0)]], [[2], [1, 1]]);
});

test('before a session is opened nothing is kept: its drafts are still to be put back', () => {
  const [store, list] = [viewer().kept, desk().structures];
  list.update([liver]);
  const first = new Session('s', list, 1, 2, store, 'page');
  first.open(Uint8Array.of(0, 0), { structures: [liver], submissions: {} });
  first.draw(new Map([[0, Uint8Array.of(1, 0)]]));
  const second = new Session('s', list, 1, 2, store, 'page');
  second.keep();
  assert.ok(!second.opened);
  assert.deepEqual(second.open(Uint8Array.of(0, 0), { structures: [liver], submissions: {} }), [0]);
  assert.ok(second.opened);
});

test('a labelmap takes nothing for a drawing before its session is opened', async () => {
  const { panel, opening } = await opened();
  const { displaySet } = panel.map;
  opening.leave();
  const map = await Labelmap.open('one', displaySet, panel.structures, new Unfollowed()); // the viewer still has the labels of before
  assert.deepEqual([map.commit(), map.session.slices.dirty], [[], []]);
  map.session.open(Uint8Array.from(labels.ct), { structures: [liver], submissions: { 0: 7 } });
  assert.deepEqual([map.commit(), map.session.slices.dirty], [[], []]);
  map.close();
});

test('a series is opened once the stroke that is under way has ended', async () => {
  const [panel, shown] = [desk(), viewer()];
  const opening = new Opening(panel, nothing);
  server(labels);
  shown.show('ct');
  shown.showing = async () => shown.press('mousedown');
  const follows = opening.follow();
  await later(20);
  assert.equal(panel.map, null);
  shown.press('mouseup');
  await follows;
  assert.equal(panel.map.series, 'ct');
});

test('a labelmap that could not be opened, or was left, listens no longer and changes nothing', async () => {
  const [panel, shown] = [desk(), viewer()];
  const opening = new Opening(panel, nothing);
  shown.show('ct');
  server({ ct: [1, 1] }); // of another grid
  await assert.rejects(opening.follow(), /does not fit this series/);
  assert.equal(shown.listeners(), 0);
  shown.showing = async () => { throw new Error('not shown'); };
  server(labels);
  await assert.rejects(opening.follow(), /not shown/);
  assert.equal(shown.listeners(), 0);
  shown.showing = async () => {};
  await opening.follow();
  assert.notEqual(shown.listeners(), 0);
  const { map } = panel;
  opening.close();
  assert.equal(shown.listeners(), 0);
  map.session.draw(new Map([[1, Uint8Array.of(1, 1)]]));
  map.render([1]);
  assert.deepEqual([...shown.pixels('ct', 1)], [0, 0]);
});

test('a labelmap is put back again and again while the viewer loads a viewport, until the series is left', async () => {
  const { panel, shown, opening } = await opened();
  const { map } = panel;
  let tries = 0;
  shown.showing = async () => { if (++tries < 3) throw new Error('not loaded yet'); };
  await map.recover();
  assert.equal(tries, 3);
  shown.showing = async () => { tries++; throw new Error('not loaded yet'); };
  const recovers = map.recover();
  opening.leave();
  await assert.rejects(recovers, /not loaded yet/);
  await later(500);
  assert.ok(tries <= 5, `${tries} tries`);
});

test('what the server took of a series that is open anew is no drawing there, and what was drawn since is kept', async () => {
  const made = await opened();
  const { panel, shown } = made;
  const waiting = gate();
  const none = { added: [1], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  let stored = labels;
  server(labels, async path => {
    if (path !== '/fewsam/label') return undefined;
    await waiting.opened;
    return { ok: true, json: async () => ({ ...none, submissions: { 0: 7, 1: 8 } }) };
  });
  shown.pixels('ct', 1).set([0, 1]);
  const submits = new Submitting(panel).submit();
  await later();
  await goOn(made);
  await goOn(made, 'ct');
  shown.pixels('ct', 2).set([1, 1]);
  panel.map.commit();
  await goOn(made);
  waiting.open(); // the answer comes to a session that another one has followed
  await submits;
  stored = { ...labels, ct: [1, 1, 0, 1, 0, 0] };
  server(stored, async () => undefined, { 0: 7, 1: 8 });
  await goOn(made, 'ct');
  assert.deepEqual([panel.map.session.slices.dirty, pixels(shown)], [[2], [[1, 1], [0, 1], [1, 1]]]);
});

test('a second reading that is adopted for a series that was left takes away no draft there', async () => {
  const made = await opened();
  const { panel, shown } = made;
  const waiting = gate();
  server(labels, async path => {
    if (path !== '/fewsam/reading/adopt') return undefined;
    await waiting.opened;
    return { ok: true, json: async () => ({}) };
  });
  shown.pixels('ct', 1).set([0, 1]);
  panel.map.commit();
  new Labwork(panel, null, null).adopt({ slice: 1, in_force: null }, { reading: 3 });
  await later();
  await goOn(made);
  waiting.open();
  await later(20);
  assert.match(panel.said.at(-1).text, /has the label of the second reader/);
  assert.equal(shown.kept.length, 1);
});

test('what the browser has no room for is still there on return', async () => {
  const made = await opened();
  const { panel, shown } = made;
  shown.kept.setItem = () => { throw new Error('full'); };
  shown.pixels('ct', 1).set([0, 1]);
  panel.map.commit();
  assert.equal(panel.map.session.kept, false);
  await goOn(made);
  await goOn(made, 'ct');
  assert.deepEqual([panel.map.session.slices.dirty, pixels(shown)], [[1], [[1, 1], [0, 1], [0, 0]]]);
});

test('a stroke on a series that the server does not open is kept when the panel is closed', async () => {
  const made = await opened();
  const { panel, shown, opening } = made;
  await goOn(made);
  shown.show('ct');
  server(labels, async path => { if (path === '/fewsam/labelmap') throw new Error('no answer'); });
  await assert.rejects(opening.follow(), /no answer|does not answer/);
  shown.pixels('ct', 1).set([1, 1]);
  opening.close();
  server(labels);
  const later_on = new Opening(panel, nothing); // another panel knows nothing of the labelmap
  await later_on.follow();
  assert.deepEqual([panel.map.session.slices.dirty, [...shown.pixels('ct', 1)]], [[1], [1, 1]]);
});

// -- a labelmap that the viewer loses

/** A viewer that does not show a labelmap at the first try. */
function failsOnce(shown) {
  let tries = 0;
  shown.showing = async () => { if (++tries === 1) throw new Error('not loaded yet'); };
}

test('a labelmap that is made anew at the second try has what was drawn, and takes strokes', async () => {
  const made = await opened();
  const { panel, shown } = made;
  shown.pixels('ct', 1).set([0, 1]);
  panel.map.commit();
  shown.remove('ct');
  failsOnce(shown);
  await panel.map.recover();
  assert.deepEqual([pixels(shown), panel.map.session.slices.dirty], [[[1, 1], [0, 1], [0, 0]], [1]]);
  shown.pixels('ct', 2).set([1, 0]);
  assert.deepEqual(panel.map.commit(), [2]);
  await goOn(made);
  await goOn(made, 'ct');
  assert.deepEqual([pixels(shown), panel.map.session.slices.dirty], [[[1, 1], [0, 1], [1, 0]], [1, 2]]);
});

test('a stroke while a labelmap is made anew is kept', async () => {
  const { panel, shown } = await opened();
  shown.remove('ct');
  shown.showing = async () => shown.pixels('ct', 2).set([0, 1]);
  await panel.map.recover();
  assert.deepEqual([pixels(shown), panel.map.session.slices.dirty], [[[1, 1], [0, 0], [0, 1]], [2]]);
});

test('labels are not taken for erased where a labelmap was deleted while its series was left, or before', async () => {
  for (const before of [true, false]) {
    const made = await opened();
    const { panel, shown, opening } = made;
    if (before) shown.remove('ct');
    await goOn(made);
    if (!before) shown.remove('ct');
    failsOnce(shown);
    shown.show('ct');
    await assert.rejects(opening.follow(), /not loaded yet/);
    await opening.follow();
    assert.deepEqual([pixels(shown), panel.map.session.slices.dirty], [[[1, 1], [0, 0], [0, 0]], []]);
  }
});

test('a damaged draft does not keep a series from being opened, and stays in the store', async () => {
  for (const slices of [{ 1: {} }, { 1: { seen: 0, runs: [1] } }, { x: { seen: 0, runs: [1, 2] } }, { 9: null }]) {
    const [panel, shown] = [desk(), viewer()];
    server(labels);
    shown.kept.setItem('fewsam.draft|ct|x', JSON.stringify({ alive: 0, slices }));
    shown.show('ct');
    await new Opening(panel, nothing).follow();
    assert.deepEqual([pixels(shown), panel.map.session.slices.dirty, shown.kept.length], [[[1, 1], [0, 0], [0, 0]], [], 1]);
  }
});

test('labels are not taken for erased where a series could not be shown', async () => {
  const [panel, shown] = [desk(), viewer()];
  const opening = new Opening(panel, nothing);
  server(labels);
  shown.show('ct');
  const [list, of] = [panel.structures, panel.structures.valueFor];
  list.valueFor = () => { throw new Error('too many structures'); };
  await assert.rejects(opening.follow(), /too many structures/);
  list.valueFor = of;
  await opening.follow();
  assert.deepEqual([pixels(shown), panel.map.session.slices.dirty], [[[1, 1], [0, 0], [0, 0]], []]);
});

test('the viewer gives a new segment no value of a deleted structure', async () => {
  const made = await opened();
  const { panel, shown } = made;
  panel.structures.update([liver, { ...liver, id: 'spleen', name: 'spleen' }]);
  panel.structures.update([liver]);
  await goOn(made);
  assert.deepEqual(Object.keys(shown.segments('mr')), ['1', '2']);
  shown.segments('mr')[3] = { segmentIndex: 3, label: 'Segment 3' }; // the viewer's own button: the highest value and one
  assert.deepEqual(panel.map.strangers(), [{ value: 3, label: 'Segment 3' }]);
});

test("a structure whose segment was deleted in the viewer's own list keeps its number: a new segment is not drawn as it", async () => {
  const { panel, shown } = await opened();
  const segments = shown.segments('ct');
  panel.structures.update([liver, { ...liver, id: 'tumour', name: 'tumour' }]);
  panel.map.segments();
  let look;
  globalThis.window.setInterval = act => (look = act);
  new Watching(panel, { follow() {} }, { look: () => false });
  delete segments[2]; // the viewer's own button
  look();
  segments[Math.max(...Object.keys(segments).map(Number)) + 1] = { segmentIndex: 3, label: 'Segment 3' }; // and the one beside it
  look();
  assert.deepEqual([segments[2].label, panel.structures.all.map(one => one.name)], ['tumour', ['liver', 'tumour', 'Segment 3']]);
});

test('the labels of a structure that came back are fetched again where that failed', async () => {
  const { panel, opening } = await opened();
  const tumour = { ...liver, id: 'tumour', name: 'tumour' };
  const fetched = [];
  panel.fetch = async () => {
    fetched.push(panel.structures.ids);
    if (fetched.length === 1) throw new Error('The server does not answer.');
    return true;
  };
  await opening.catchUp();
  assert.deepEqual(fetched, []);
  panel.structures.update([liver, tumour]);
  await assert.rejects(opening.catchUp());
  for (let look = 0; look < 3; look++) await opening.catchUp();
  assert.equal(fetched.length, 2);
  assert.match(fetched[1], /tumour/);
});
