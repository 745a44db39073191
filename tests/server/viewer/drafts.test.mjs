// What is drawn and not submitted is kept in the browser, beside that of other windows.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Session, Structures, keep } from '../../../lib/fewsam/server/viewer/dist/model.mjs';
import { MemoryStore, bytes, head, named } from './series.mjs';

test('a draft is put back by name: values of another window mean nothing here', () => {
  const store = new MemoryStore();
  const [first, second] = [new Structures(), new Structures()];
  first.update(named('liver', 'lesion'));
  const before = new Session('s', first, 1, 2, store, 'one');
  before.open(bytes(0, 0), head(['liver', 'lesion']));
  before.draw(new Map([[0, bytes(2, 0)]])); // a lesion
  before.keep(true);
  second.update(named('cyst', 'lesion', 'liver'));
  const after = new Session('s', second, 1, 2, store, 'two');
  assert.deepEqual(after.open(bytes(0, 0), head(['cyst', 'lesion', 'liver'])), [0]);
  assert.deepEqual([...after.slices.shown(0)], [second.named('lesion').value, 0]);
  assert.deepEqual(after.submission().label_info.find(one => one.idx === after.slices.shown(0)[0]).name, 'lesion');
  assert.equal(after.slices.undoSteps, 0);
  assert.equal(store.length, 1); // taken over
});

test('a full store is said, and another page that is open keeps its drafts', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  let now = 1000;
  const one = new Session('s', list, 1, 2, store, 'one', () => now);
  one.open(bytes(0, 0), head(['liver']));
  one.draw(new Map([[0, bytes(1, 1)]]));
  const two = new Session('s', list, 1, 2, store, 'two', () => now);
  assert.deepEqual(two.open(bytes(0, 0), head(['liver'])), []);
  now += 200_000; // not heard of for long: it is gone
  assert.deepEqual(new Session('s', list, 1, 2, store, 'three', () => now).open(bytes(0, 0), head(['liver'])), [0]);
  store.full = true;
  one.draw(new Map([[0, bytes(0, 1)]]));
  assert.equal(one.kept, false);
});

test("a window's own draft comes before that of another one on the same slice, and both are kept", () => {
  const store = new MemoryStore();
  const open = page => {
    const list = new Structures();
    list.update(named('liver'));
    const session = new Session('s', list, 2, 2, store, page);
    return { session, restored: session.open(bytes(0, 0, 0, 0), head(['liver'])) };
  };
  const [mine, theirs] = ['z', 'a'].map(page => open(page).session); // in the order of the store theirs is the first
  mine.draw(new Map([[0, bytes(1, 0)], [1, bytes(0, 1)]]));
  theirs.draw(new Map([[1, bytes(1, 1)]]));
  for (const one of [mine, theirs]) one.keep(true);
  const { session, restored } = open('z');
  assert.deepEqual([restored, [...session.slices.shown(1)]], [[0, 1], [0, 1]]);
  session.keep(true);
  assert.equal(store.length, 2);
});

test('an earlier session of a window changes no draft of a later one', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  const [early, late] = [0, 1].map(() => new Session('s', list, 1, 2, store, 'page'));
  early.open(bytes(0, 0), head(['liver']));
  late.open(bytes(0, 0), head(['liver']));
  late.draw(new Map([[0, bytes(1, 1)]]));
  assert.equal(early.keep(), true);
  assert.equal(store.length, 1);
});

test('a draft of before names were kept stands for places in the list', () => {
  const store = new MemoryStore();
  store.setItem('fewsam.draft|s|old', JSON.stringify({ alive: 0, slices: { 0: { seen: 0, runs: [1, 2] } } }));
  const list = new Structures();
  list.update(named('liver'));
  const one = new Session('s', list, 1, 2, store, 'new');
  assert.deepEqual([one.open(bytes(0, 0), head(['liver'])), [...one.slices.shown(0)]], [[0], [1, 1]]);
});

test('a draft of a series that has grown stays in the store: its slices are other places in the body by now', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  const open = (page, depth) => {
    const session = new Session('s', list, depth, 2, store, page);
    return [session, session.open(new Uint8Array(2 * depth), head(['liver']))];
  };
  const [before] = open('one', 2);
  before.draw(new Map([[1, bytes(1, 0)]]));
  before.keep(true);
  for (const page of ['one', 'two']) { // a page that stays, and one that was loaded anew
    const [grown, restored] = open(page, 3);
    assert.deepEqual([restored, grown.slices.dirty, grown.misfits], [[], [], 1]);
    grown.keep(true);
    assert.equal(store.length, 1);
  }
  const [again, restored] = open('three', 2);
  assert.deepEqual([restored, again.misfits, store.length], [[1], 0, 1]);
});

test('a draft of another version of the series stays in the store, also where it has as many slices', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  const open = (page, content_hash) => {
    const session = new Session('s', list, 2, 2, store, page);
    return [session, session.open(new Uint8Array(4), { ...head(['liver']), content_hash })];
  };
  const [before] = open('one', 'old');
  before.draw(new Map([[1, bytes(1, 0)]]));
  assert.equal(before.submission().content_hash, 'old');
  assert.throws(() => before.receive(new Uint8Array(4), { ...head(['liver']), content_hash: 'new' }), /series has changed/);
  before.keep(true);
  for (const page of ['one', 'two']) { // a page that stays, and one that was loaded anew
    const [other, restored] = open(page, 'new');
    assert.deepEqual([restored, other.slices.dirty, other.misfits, other.takeOver(before)], [[], [], 1, []]);
    other.keep(true);
    assert.equal(store.length, 1);
  }
  const [again, restored] = open('three', 'old');
  assert.deepEqual([restored, again.misfits, store.length], [[1], 0, 1]);
});

test('a window that is open takes nothing from one that is loading again', () => {
  const store = new MemoryStore();
  const list = new Structures();
  list.update(named('liver'));
  let now = 1_000_000;
  const page = id => {
    const one = new Session('s', list, 3, 2, store, id, () => now);
    one.open(bytes(0, 0, 0, 0, 0, 0), head(['liver']));
    return one;
  };
  const [mine, other] = [page('mine'), page('other')];
  mine.draw(new Map([[1, bytes(1, 0)]]));
  mine.keep(true); // the page is closed, or loads again
  now += 3000;
  assert.deepEqual(other.putBack(), []);
  const again = new Session('s', list, 3, 2, store, 'mine', () => now);
  assert.deepEqual(again.open(bytes(0, 0, 0, 0, 0, 0), head(['liver'])), [1]);
});
