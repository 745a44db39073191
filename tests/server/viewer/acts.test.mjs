// The acts of the panel with a viewer and a server that are stood in for: a series is opened, left, and worked on.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Opening, Polling } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { desk, gate, later, server, viewer } from './fake_viewer.mjs';

const nothing = { nothing: () => true, opened() {}, left() {} };

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
