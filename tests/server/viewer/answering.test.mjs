// A server that takes a question and does not answer: nobody waits for it for ever.
import assert from 'node:assert/strict';
import test from 'node:test';
import { api } from '../../../lib/fewsam/server/viewer/dist/model.mjs';

const MINUTE = 60_000;

/** Ask while no answer, or none of its body, comes before the time is up; how long it was waited for. */
async function asked(question, body = false) {
  const [real, waits] = [AbortSignal.timeout, []];
  AbortSignal.timeout = ms => (waits.push(ms), AbortSignal.abort(new DOMException('', 'TimeoutError')));
  globalThis.fetch = async (_, { signal }) => {
    const cut = async () => { throw signal.reason; };
    return body ? { ok: true, json: cut, arrayBuffer: cut } : cut();
  };
  try {
    await assert.rejects(question(), /The server does not answer\. What you drew stays here/);
  } finally {
    AbortSignal.timeout = real;
  }
  return waits[0];
}

test('a question that is not answered ends, soon where the panel only looks, and late where the server works on it', async () => {
  const submission = { voxels: new Uint8Array(1), label_info: [], drawn: {}, empty: [], silent: {} };
  for (const body of [false, true]) {
    for (const look of [() => api.getState('ct', 0), () => api.worklist(), () => api.history('ct', 0)]) {
      assert.ok((await asked(look, body)) <= MINUTE);
    }
    const works = [() => api.segment('ct', 0), () => api.correct({}), () => api.prompts({}), () => api.submit('ct', submission, { asked: {}, empty: [] }),
      () => api.getState('ct'), () => api.getLabelmap('ct')]; // the last two open a series
    for (const work of works) assert.ok((await asked(work, body)) >= 5 * MINUTE);
  }
});
