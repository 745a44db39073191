// The acts of the panel with a viewer and a server that are stood in for: a series is opened, worked on, and left meanwhile.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  Editing, Journey, Judging, Lab, Labwork, Learning, Opening, Pointing, Polling, Prompting, Submitting, Tracing, host, showPanel,
} from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { desk, framed, gate, goOn, labels, later, liver, nothing, opened, server, viewer } from './fake_viewer.mjs';

// -- a panel that is closed

test('a panel that is closed while it looks does not look again', async () => {
  const panel = desk();
  const [waiting, looks] = [gate(), []];
  viewer();
  globalThis.window.setTimeout = act => looks.push(act);
  const polling = new Polling(panel, [() => waiting.opened, async () => looks.push('the next step')]);
  const look = polling.look();
  polling.close();
  waiting.open();
  await look;
  assert.deepEqual(looks, []);
});

test('a series is not opened in a panel that is closed meanwhile, nor one that the person has gone on from', async () => {
  for (const asked of ['/fewsam/state', '/fewsam/labelmap']) {
    for (const what of ['close', 'go on']) {
      const [panel, shown] = [desk(), viewer()];
      shown.show('ct');
      const opened = [];
      const opening = new Opening(panel, { ...nothing, opened: map => opened.push(map) });
      server({ ct: [1, 1, 0, 0, 0, 0], mr: [0, 0, 0, 0, 1, 1] }, async (path, series) => {
        if (path !== asked || series !== 'ct') return;
        if (what === 'close') opening.close();
        else shown.show('mr');
      });
      await opening.follow();
      assert.deepEqual([panel.map, opened], [null, []], `${what} at ${asked}`);
      if (what === 'close') continue;
      await opening.follow();
      assert.equal(panel.map.series, 'mr');
      assert.deepEqual([...shown.pixels('mr', 2)], [1, 1]);
    }
  }
});

// -- a series that is left while something is done for it

test('what is done to the slice on the screen is not done to a series that is no longer on it', async () => {
  const acts = {
    point: panel => new Pointing(panel, new Prompting(panel)).point({ i: 0, j: 0, k: 1 }),
    scribble: panel => new Prompting(panel).stroke('scribble', [[0, 0], [1, 0]], 1, false),
    lasso: panel => new Editing(panel).area([[-1, -1], [2, -1], [2, 2], [-1, 2]], 1, false),
    holes: panel => new Editing(panel).copy(),
    right: panel => new Judging(panel).right(),
    absent: panel => new Judging(panel).absent(),
    unlabel: panel => void new Tracing(panel).unlabel({ shot: 3 }),
  };
  for (const elsewhere of [['mr', 'one'], ['ct', 'two']]) {
    for (const [name, act] of Object.entries(acts)) {
      const { panel, shown } = await opened();
      panel.store.tool.value = 'include';
      const asked = [];
      server(labels, async path => void asked.push(path));
      shown.show(...elsewhere); // the next look is still to come
      act(panel);
      await later(20);
      assert.match(panel.said.at(-1).text, /^Another series is on the screen/, name);
      assert.deepEqual([asked, panel.map.session.slices.dirty, panel.map.session.points], [[], [], []], name);
    }
  }
});

test('what waits for the button to be released ends when the series is left with the button down', async () => {
  const made = await opened();
  const { panel, shown } = made;
  const waiting = gate();
  const work = panel.work('Segmenting', async map => {
    await waiting.opened;
    await map.released();
  });
  await later();
  shown.press('mousedown');
  await goOn(made); // the labelmap that was left does not hear that the button is released
  shown.press('mouseup');
  waiting.open();
  await Promise.race([work, later(500)]);
  assert.equal(panel.store.busy.value, '');
});

test('what was asked for one series is not begun in another one', async () => {
  const { panel, shown, opening } = await opened();
  const done = [];
  panel.store.busy.value = 'Segmenting';
  const work = panel.work('Correcting', async map => done.push(map.series));
  await goOn({ shown, opening });
  panel.store.busy.value = '';
  await work;
  assert.deepEqual([done, panel.store.busy.value], [[], '']);
  assert.match(panel.said.at(-1).text, /^You left the series meanwhile/);
  await panel.work('Correcting', async map => done.push(map.series));
  assert.deepEqual(done, ['mr']);
});

test('a click is answered on the series it was made on, in its turn or not at all', async () => {
  for (const propagate of [false, true]) {
    const { panel, shown, opening } = await opened();
    const pointing = new Pointing(panel, new Prompting(panel));
    panel.store.tool.value = 'include';
    panel.store.propagate.value = propagate;
    const [waiting, asked] = [gate(), []];
    server(labels, async (path, series, body) => {
      if (!/clicks|prompts/.test(path)) return undefined;
      asked.push(JSON.parse(body).id);
      await waiting.opened;
      return framed({ slices: [1] }, [1, 0]);
    });
    const left = panel.map;
    pointing.point({ i: 0, j: 0, k: 1 }); // its answer comes when the series was left
    pointing.point({ i: 1, j: 0, k: 1 }); // its turn comes then
    await later();
    await goOn({ shown, opening });
    waiting.open();
    await later(150);
    assert.deepEqual(asked, [panel.structures.of(panel.store.chosen.value).id]); // whatever it is called by then
    assert.match(panel.said.at(-1).text, /^You left the series meanwhile/);
    for (const map of [left, panel.map]) assert.deepEqual([map.session.points, map.session.slices.dirty], [[], []]);
    assert.deepEqual([...shown.pixels('mr', 1)], [0, 0]);
    await goOn({ shown, opening }, 'ct');
    pointing.point({ i: 0, j: 0, k: 1 });
    await later(20);
    assert.deepEqual([panel.map.session.points.length, panel.map.session.slices.dirty], [1, [1]]);
  }
});

/** A drawing is submitted, and the series is left before the server answers with ``answer``. */
async function submittedAndLeft(answer, before = () => {}) {
  const made = await opened();
  const { panel, shown } = made;
  const waiting = gate();
  server(labels, async path => {
    if (path !== '/fewsam/label') return undefined;
    await waiting.opened;
    return answer;
  });
  shown.pixels('ct', 1).set([0, 1]);
  before(made);
  const submitted = new Submitting(panel).submit();
  await later();
  await goOn(made);
  panel.store.conflict.value = { 2: 5 }; // what is asked of the series that is open now
  waiting.open();
  await submitted;
  return made;
}

const question = body => ({ ok: false, status: 409, json: async () => ({ detail: '', ...body }) });

test('a question about a series that was left is not asked over another one, and the drawing comes back', async () => {
  for (const body of [{ slices: [1], who: 'Olaf' }, { empty: [1] }]) {
    const made = await submittedAndLeft(question(body));
    const { panel } = made;
    assert.deepEqual(panel.store.conflict.value, { 2: 5 });
    assert.match(panel.said.at(-1).text, /nothing was taken\. What you drew there is kept in this browser/);
    assert.deepEqual(panel.said.at(-1).answers, []);
    await goOn(made, 'ct');
    assert.deepEqual(panel.map.session.slices.dirty, [1]);
  }
});

test('a series that has changed since it was drawn on is told, and what is drawn stays', async () => {
  const { panel, shown } = await opened();
  const detail = 'The series has changed since it was opened here.';
  const sent = [];
  server(labels, async (path, _, body) => {
    if (path !== '/fewsam/label') return undefined;
    sent.push(JSON.parse(body.get('params')).content_hash);
    return { ok: false, status: 409, json: async () => ({ detail }) };
  });
  panel.map.session.image = 'old';
  shown.pixels('ct', 1).set([0, 1]);
  await new Submitting(panel).submit();
  assert.deepEqual([sent, panel.said.at(-1), panel.store.conflict.value], [['old'], { text: detail, kind: 'bad', answers: [] }, {}]);
  assert.deepEqual([panel.map.session.slices.dirty, shown.kept.length], [[1], 1]);
});

test('that a drawing could not be kept is said with the question that cannot be asked', async () => {
  const full = ({ shown }) => (shown.kept.setItem = () => { throw new Error('full'); });
  const { panel } = await submittedAndLeft(question({ slices: [1] }), full);
  assert.match(panel.said.at(-1).text, /store is full: what you drew there since it last had room may be lost/);
});

test('a submission that was taken answers no question about another series, and leaves no draft', async () => {
  const none = { added: [1], superseded: [], cleared: [], replaced: [], kept: [], untouched: [], overlaps: [] };
  const { panel, shown } = await submittedAndLeft({ ok: true, json: async () => ({ ...none, submissions: { 0: 7, 1: 8 } }) });
  assert.deepEqual([panel.store.conflict.value, shown.kept.length], [{ 2: 5 }, 0]);
  assert.equal(panel.said.at(-1).text, '1 slice submitted.');
});

test('the answers to a question about an empty slice do nothing in another series', async () => {
  const made = await opened();
  const { panel, shown } = made;
  const asked = [];
  server(labels, async path => (path === '/fewsam/label' ? (asked.push(path), question({ empty: [1] })) : undefined));
  shown.pixels('ct', 1).set([0, 1]);
  await new Submitting(panel).submit();
  const { answers } = panel.said.at(-1);
  assert.equal(answers.length, 2);
  await goOn(made);
  shown.pixels('mr', 1).set([0, 1]);
  panel.map.commit();
  for (const { act } of answers) {
    panel.said.length = 0;
    act();
    await later();
    assert.match(panel.said.at(-1).text, /^You left the series meanwhile/);
  }
  assert.deepEqual([asked.length, panel.map.session.slices.dirty], [1, [1]]);
});

test('what is fetched for a series that was left meanwhile is shown nowhere', async () => {
  Object.defineProperty(globalThis, 'sessionStorage', { value: viewer().kept, configurable: true });
  const acts = {
    '/fewsam/shot': panel => new Tracing(panel).restore({ shot: 3 }),
    '/fewsam/reading': panel => new Labwork(panel, null, null).show({ slice: 1 }, { reading: 3 }),
    '/fewsam/next': panel => new Journey(panel).next(),
    '/fewsam/segment': panel => new Learning(panel).segment(),
  };
  for (const [question, act] of Object.entries(acts)) {
    const made = await opened();
    const { panel, shown } = made;
    const [waiting, jumps] = [gate(), []];
    panel.take = async () => null; // as the panel does where another series is open
    server(labels, async path => {
      if (path !== question) return undefined;
      await waiting.opened;
      return { ...framed({ slice: 1, shots: 1, structures: [liver] }, [1, 1]), json: async () => ({ id: 'ct', slice: 1 }) };
    });
    const left = panel.map;
    left.geometry.jump = k => jumps.push(k);
    void act(panel);
    await later();
    await goOn(made);
    const said = panel.said.length;
    waiting.open();
    await later(20);
    assert.deepEqual([left.session.slices.dirty, jumps, panel.store.answered.value, shown.kept.length], [[], [], false, 0], question);
    for (const { text } of panel.said.slice(said)) assert.match(text, /^You left the series meanwhile/);
  }
});

test('another slice is shown once the stroke that is under way has ended', async () => {
  const acts = {
    '/fewsam/reading': panel => new Labwork(panel, null, null).show({ slice: 2 }, { reading: 3 }),
    '/fewsam/next': panel => new Journey(panel).next(),
  };
  for (const [question, act] of Object.entries(acts)) {
    const { panel, shown } = await opened();
    Object.defineProperty(globalThis, 'sessionStorage', { value: shown.kept, configurable: true });
    const [waiting, jumps] = [gate(), []];
    server(labels, async path => {
      if (path !== question) return undefined;
      await waiting.opened;
      return { ...framed({ slice: 2, structures: [liver] }, [1, 1]), json: async () => ({ id: 'ct', slice: 2 }) };
    });
    panel.map.geometry.jump = k => jumps.push([k, panel.map.session.slices.dirty.includes(1)]);
    void act(panel);
    await later();
    shown.press('mousedown');
    waiting.open();
    await later(80);
    assert.deepEqual(jumps, [], question);
    shown.pixels('ct', 1).set([0, 1]);
    shown.press('mouseup');
    await later(200);
    assert.deepEqual(jumps, [[2, true]], question); // the stroke is a drawing of its own by then
  }
});

// -- the worklist

test('who says that all is right sends the labels that are shown, and nothing while slices wait to be submitted', async () => {
  for (const [act, state, asked] of [['review', 'accepted', '/fewsam/worklist/review'], ['mark', 'done', '/fewsam/worklist/mark']]) {
    const { panel } = await opened();
    const sent = [];
    server(labels, async (path, _, body) => {
      if (path !== asked) return;
      sent.push(JSON.parse(body));
      return { ok: true };
    });
    const labwork = new Labwork(panel, new Lab(), null);
    panel.store.open.value = { dirty: [1] };
    labwork[act]({ image: 'ct', mark: 4 }, state);
    await later();
    assert.deepEqual(sent, []);
    assert.match(panel.said.at(-1).text, /not submitted/);
    panel.store.open.value = { dirty: [] };
    labwork[act]({ image: 'ct', mark: 4 }, state);
    await later();
    assert.deepEqual([sent[0].state, sent[0].seen, sent[0].labels], [state, 4, { 0: 7 }]);
    labwork[act]({ image: 'mr', mark: 0 }, state); // another series than the one that is shown
    await later();
    assert.equal(sent[1].labels, undefined);
  }
});

// -- the panel beside those of the viewer

test('the panel comes to the front when a series is opened, but not once a person chose another panel', async () => {
  for (const [chosen, times] of [[null, 3], ['an image', 3], ['another panel', 1]]) {
    viewer();
    const [timers, brought] = [new Map(), []];
    globalThis.window.setTimeout = (act, ms) => (timers.set(timers.size + 1, { act, ms }), timers.size);
    globalThis.window.clearTimeout = number => timers.delete(number);
    host.services.panelService = { activatePanel: id => brought.push(id) };
    showPanel('fewsam');
    timers.get(1).act();
    timers.delete(1);
    if (chosen) {
      const event = new Event('pointerdown');
      Object.defineProperty(event, 'target', { value: { closest: () => (chosen === 'another panel' ? {} : null) } });
      globalThis.window.dispatchEvent(event);
    }
    for (const { act } of timers.values()) act();
    assert.equal(brought.length, times, chosen);
  }
});
