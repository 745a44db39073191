// Points, scribbles, boxes and the lasso, with a viewer and a server that are stood in for: what they leave alone.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Lasso, Pointing, Prompting, sparing } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { framed, labels, later, liver, opened, server, viewer } from './fake_viewer.mjs';

const tumour = { ...liver, id: 'tumour', name: 'tumour' };

/** The panel with a second structure, and with the first one locked where that is asked for. */
async function two(locked = []) {
  const { panel } = await opened();
  panel.structures.update([liver, tumour]);
  panel.store.look.value = { ...panel.store.look.value, locked };
  return panel;
}

test('pixels of a locked structure stay', () => {
  assert.deepEqual([...sparing(Uint8Array.of(2, 2, 0), Uint8Array.of(1, 0, 1), [1])], [1, 2, 1]);
});

test('neither a point nor a box of another structure changes a locked one', async () => {
  for (const way of ['point', 'box']) {
    const panel = await two([1]);
    const answers = { '/fewsam/clicks': () => framed({}, [1, 1, 0, 0]), '/fewsam/prompts': () => framed({ slices: [0] }, [1, 1]) };
    server(labels, async path => answers[path]?.());
    [panel.store.chosen.value, panel.store.tool.value] = [2, 'include'];
    const prompting = new Prompting(panel);
    if (way === 'point') new Pointing(panel, prompting).point({ i: 0, j: 0, k: 0 });
    else prompting.stroke('box', [[0, 0], [1, 0]], 0, false);
    await later(30);
    assert.deepEqual([...panel.map.session.slices.shown(0)], [1, 1], way);
    assert.match(panel.said.at(-1).text, /tumour/);
  }
});

test('a locked structure is prompted by nothing', async () => {
  for (const way of ['point', 'box']) {
    const panel = await two([1]);
    const asked = [];
    server(labels, async path => void asked.push(path));
    [panel.store.chosen.value, panel.store.tool.value] = [1, 'exclude'];
    const prompting = new Prompting(panel);
    if (way === 'point') new Pointing(panel, prompting).point({ i: 0, j: 0, k: 0 });
    else prompting.stroke('box', [[0, 0], [1, 0]], 0, true);
    await later(30);
    assert.deepEqual([asked, panel.said.at(-1).text], [[], 'liver is locked.'], way);
  }
});

test('a structure remembers what its prompts changed while another one is prompted', async () => {
  const panel = await two();
  const answers = { liver: [[1, 1], [0, 1]], tumour: [[0, 0]] };
  server(labels, async (path, _, body) => (path === '/fewsam/prompts' ? framed({ slices: [2] }, answers[JSON.parse(body).id].shift()) : undefined));
  const prompting = new Prompting(panel);
  for (const [value, i] of [[1, 0], [2, 1], [1, 1]]) {
    panel.store.chosen.value = value;
    prompting.stroke('box', [[i, 0], [i, 0]], 2, false);
    await later(30);
  }
  assert.deepEqual([...panel.map.session.slices.shown(2)], [0, 1]);
});

test('a point takes back what an earlier one brought, and leaves strokes', async () => {
  const wide = { columns: 4, rows: 1 };
  const { panel } = await opened();
  const map = panel.map;
  map.geometry.planes[2] = { ...map.geometry.planes[2], ...wide };
  const shown = { now: new Uint8Array(4) };
  map.session.slices.shown = () => shown.now;
  map.session.correct = (k, pixels, points) => ((shown.now = pixels), (map.session.points = points), []);
  map.commit = () => [];
  map.render = () => {};
  const answers = [[1, 1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]; // with the points, and without
  server(labels, async path => (path === '/fewsam/clicks' ? framed({}, answers.shift()) : undefined));
  const pointing = new Pointing(panel, new Prompting(panel));
  panel.store.tool.value = 'include';
  pointing.point({ i: 0, j: 0, k: 2 });
  await later(30);
  assert.deepEqual([...shown.now], [1, 1, 1, 0]);
  shown.now = Uint8Array.of(1, 1, 1, 1); // the last pixel by hand
  panel.store.tool.value = 'exclude';
  pointing.point({ i: 1, j: 0, k: 2 });
  await later(30);
  assert.deepEqual([...shown.now], [1, 0, 0, 1]);
});

test('the lasso lets go of its corners where another slice is on the screen', () => {
  viewer();
  const done = [];
  const lasso = new Lasso((places, k) => done.push([places, k]), () => {});
  const at = (i, j, k) => ({ i, j, k, x: 100 * i, y: 100 * j });
  for (const [i, j, k] of [[0, 0, 1], [1, 0, 1], [5, 5, 2], [6, 5, 2], [6, 6, 2]]) {
    lasso.down(at(i, j, k), {});
    lasso.up(at(i, j, k), {});
  }
  lasso.twice(at(6, 6, 2), {});
  assert.deepEqual(done, [[[[5, 5], [6, 5], [6, 6]], 2]]);
});

test('keys that are typed into a field do nothing to the lasso', () => {
  viewer();
  class Field {
    type = 'text';
  }
  Object.assign(globalThis, { HTMLInputElement: Field, HTMLTextAreaElement: class {}, HTMLSelectElement: class {}, HTMLElement: class {} });
  const done = [];
  const lasso = new Lasso(places => done.push(places.length), () => {});
  for (const [x, y] of [[0, 0], [50, 0], [50, 50]]) {
    lasso.down({ x, y, i: x, j: y, k: 5 }, {});
    lasso.up({}, {});
  }
  const press = (key, target) => {
    const event = Object.assign(new Event('keydown', { cancelable: true }), { key });
    if (target) Object.defineProperty(event, 'target', { value: target });
    globalThis.window.dispatchEvent(event);
    return event.defaultPrevented;
  };
  assert.deepEqual([press('Backspace', new Field()), press('Enter', new Field()), done], [false, false, []]);
  assert.deepEqual([press('Enter'), done], [true, [3]]);
});
