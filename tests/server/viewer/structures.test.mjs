// Structures by name and identity, whatever their order on the server, renamed and deleted ones too.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Session, Structures, keep } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { MemoryStore, bytes, head, named } from './series.mjs';

test('structures keep their values here whatever the order on the server', () => {
  const list = new Structures();
  list.update(named('liver', 'spleen'));
  list.update(named('cyst', 'liver', 'spleen'));
  assert.deepEqual(list.all.map(one => [one.name, one.value]), [['cyst', 3], ['liver', 1], ['spleen', 2]]);
  assert.deepEqual([...list.fromServer(bytes(0, 1, 2, 3), named('cyst', 'liver', 'spleen'))], [0, 3, 1, 2]);
});

test('a renamed structure is the same one, and a deleted one keeps its name for what is drawn of it', () => {
  const list = new Structures();
  list.update(named('liver', 'lesion'));
  list.update([{ ...named('lesion')[0], name: 'tumour' }]);
  assert.deepEqual(list.all.map(one => [one.id, one.name, one.value]), [['lesion', 'tumour', 2]]);
  assert.deepEqual(list.key([1, 2]), [{ id: 'liver', name: 'liver', value: 1 }, { id: 'lesion', name: 'tumour', value: 2 }]);
  const without = list.ids; // of which the labelmap is fetched again
  list.update(named('lesion'));
  assert.equal(list.ids, without);
  list.update(named('cyst'));
  assert.notEqual(list.ids, without);
});

test('a segment of the viewer that gets the name of a deleted structure is that structure', () => {
  const list = new Structures();
  list.update(named('liver', 'spleen'));
  const session = new Session('s', list, 1, 3, new MemoryStore(), 'one');
  session.open(bytes(0, 0, 0), head(['liver', 'spleen']));
  session.draw(new Map([[0, bytes(1, 0, 0)]]));
  list.update(named('spleen'));
  const { value } = list.addUnnamed('liver');
  session.draw(new Map([[0, bytes(1, value, 0)]]));
  list.update(named('liver', 'spleen'));
  assert.deepEqual(list.all.map(one => [one.id, one.value]), [['liver', value], ['spleen', 2]]);
  const meant = session.submission().label_info.filter(one => one.idx !== 2);
  assert.deepEqual(meant.map(one => [one.idx, one.id]).sort(), [[1, 'liver'], [value, 'liver']]);
  assert.deepEqual([...list.fromServer(bytes(1, 2), named('liver', 'spleen'))], [value, 2]);
  assert.equal(list.addUnnamed('new').value, 4); // no value means two
});

test('a slice does not say where a structure is not that came back after it was drawn on', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('spleen'));
  const before = new Session('s', list, 2, 2, store, 'one');
  before.open(bytes(0, 0, 0, 0), head(['spleen']));
  before.draw(new Map([[0, bytes(1, 0)], [1, bytes(1, 0)]]));
  list.update(named('liver', 'spleen'));
  const liver = list.named('liver').value;
  before.receive(bytes(0, 1, 0, 1), head(['liver', 'spleen'], { 0: 5, 1: 5 }));
  before.draw(new Map([[1, bytes(1, liver)]])); // what else the server has of it there is not shown
  assert.deepEqual(before.submission().silent, { 0: ['liver'], 1: ['liver'] });
  before.keep(true);

  const after = new Session('s', list, 2, 2, store, 'two'); // after a reload
  after.open(bytes(0, 1, 0, 1), head(['liver', 'spleen'], { 0: 5, 1: 5 }));
  const submission = after.submission();
  assert.deepEqual(submission.silent, { 0: ['liver'], 1: ['liver'] });
  after.submitted(submission, { 0: 6, 1: 6 });
  assert.deepEqual(after.slices.stale({ 0: 6, 1: 6 }), [0, 1]); // the server may show more there
  after.receive(bytes(2, 1, 2, 1), head(['liver', 'spleen'], { 0: 6, 1: 6 }));
  after.draw(new Map([[0, bytes(1, 0)]]));
  assert.deepEqual(after.submission().silent, {});
});

test('a structure that was submitted on a slice is erased there as any other', () => {
  for (const way of ['erased', 'undone', 'meanwhile']) {
    const list = new Structures();
    list.update(named('liver'));
    const session = new Session('s', list, 1, 2, new MemoryStore(), 'one');
    session.open(bytes(0, 0), head(['liver']));
    session.draw(new Map([[0, bytes(1, 0)]]));
    list.update(named('liver', 'cyst')); // a new one, while the slice waits
    session.receive(bytes(0, 0), head(['liver', 'cyst']));
    session.draw(new Map([[0, bytes(1, 2)]]));
    const submission = session.submission();
    if (way === 'meanwhile') session.draw(new Map([[0, bytes(1, 0)]]));
    session.submitted(submission, { 0: 6 });
    if (way === 'erased') session.draw(new Map([[0, bytes(1, 0)]]));
    if (way === 'undone') session.undo();
    const again = session.submission();
    assert.deepEqual([[...again.voxels], again.silent], [[1, 0], {}], way);
  }
});

test('what has no structure on the server is not submitted under any name', () => {
  const list = new Structures();
  const one = new Session('s', list, 1, 2, new MemoryStore(), 'page');
  list.addUnnamed('Segment 1', 1);
  one.draw(new Map([[0, bytes(1, 1)]]));
  assert.throws(() => one.submission(), /"Segment 1" has no structure/);
  list.all[0].name = 'cyst';
  list.update(named('cyst'));
  assert.deepEqual(one.submission().label_info, [{ id: 'cyst', name: 'cyst', idx: 1 }]);
});
