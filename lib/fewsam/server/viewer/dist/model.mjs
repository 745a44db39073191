/* fewsam panel, built from sources 38f7cad94dabe880c2e05e63d9d36198ce00a103ebc03196036f2f6b11afebc6 */
// src/drafts.ts
var SILENT = 15e4;
var Drafts = class {
	store;
	now;
	prefix;
	own;
	constructor(store, series, page, now = Date.now) {
		this.store = store;
		this.now = now;
		this.prefix = `fewsam.draft|${series}|`;
		this.own = this.prefix + page;
	}
	/** Keep what is drawn; false where the store is full, and submitting is the way to keep it. */
	keep(slices, structures, closing = false) {
		const used = /* @__PURE__ */ new Set();
		const draft = {
			alive: closing ? 0 : this.now(),
			slices: {}
		};
		for (const [k, { pixels, seen, confirmed }] of slices.outgoing()) {
			const runs = pack(pixels);
			for (let i = 0; i < runs.length; i += 2) used.add(runs[i]);
			draft.slices[k] = {
				seen,
				runs,
				...confirmed && { confirmed }
			};
		}
		draft.key = structures.key(used);
		try {
			if (slices.dirty.length) this.store.setItem(this.own, JSON.stringify(draft));
			else this.store.removeItem(this.own);
		} catch {
			return false;
		}
		return true;
	}
	/** Put back the drafts of pages that are gone, but for slices that are drawn on here; the slices put back. */
	restore(slices, structures) {
		const restored = [];
		const taken = [];
		for (const name of this.names()) {
			const draft = read(this.store.getItem(name));
			if (!draft || name !== this.own && this.now() - draft.alive < SILENT) continue;
			const wanted = Object.keys(draft.slices).map(Number);
			if (wanted.some((k) => slices.isDirty(k))) continue;
			const table = draft.key ? meanings(draft.key, structures) : null;
			const entries = wanted.map((k) => ({
				k,
				one: draft.slices[k],
				pixels: unpack(draft.slices[k].runs, slices.size)
			}));
			if (entries.some(({ k, pixels }) => !pixels || k >= slices.depth)) continue;
			for (const { k, one, pixels } of entries) {
				const here = table ? pixels.map((value) => table[value]) : pixels;
				slices.adopt(k, {
					pixels: here,
					seen: one.seen,
					confirmed: one.confirmed
				});
				restored.push(k);
			}
			taken.push(name);
		}
		if (restored.length && this.keep(slices, structures)) taken.filter((name) => name !== this.own).forEach((name) => this.store.removeItem(name));
		return restored.sort((a, b) => a - b);
	}
	names() {
		return Array.from({ length: this.store.length }, (_, n) => this.store.key(n) ?? "").filter((name) => name.startsWith(this.prefix)).sort();
	}
};
function meanings(key, structures) {
	const table = /* @__PURE__ */ new Uint8Array(256);
	for (const one of key) table[one.value] = structures.valueFor(one);
	return table;
}
function read(text) {
	try {
		const draft = JSON.parse(text ?? "");
		return draft?.slices ? draft : null;
	} catch {
		return null;
	}
}
function pack(values) {
	const runs = [];
	for (let i = 0; i < values.length;) {
		let end = i + 1;
		while (end < values.length && values[end] === values[i]) end++;
		runs.push(values[i], end - i);
		i = end;
	}
	return runs;
}
function unpack(runs, length) {
	const values = new Uint8Array(length);
	let at = 0;
	for (let i = 0; i < runs.length; i += 2) {
		values.fill(runs[i], at, at + runs[i + 1]);
		at += runs[i + 1];
	}
	return at === length ? values : null;
}
// src/points.ts
/** The slice with the points' change to one structure; the server gives its mask with the points, and without.
*
* The pixel under a point always obeys the point.
*/
function corrected(slice, planes, value, points, width) {
	const result = slice.slice();
	const drawn = slice.includes(value);
	for (let at = 0; at < slice.length; at++) {
		const [now, before] = [planes[at], planes[slice.length + at]];
		if (drawn && now === before) continue;
		if (now) result[at] = value;
		else if (slice[at] === value) result[at] = 0;
	}
	for (const { i, j, include } of points) {
		const at = j * width + i;
		if (include) result[at] = value;
		else if (result[at] === value) result[at] = 0;
	}
	return result;
}
// src/slices.ts
var UNDO_STEPS = 100;
var UNKNOWN = -1;
var Slices = class {
	depth;
	size;
	base;
	submission;
	drawn = /* @__PURE__ */ new Map();
	done = [];
	undone = [];
	constructor(depth, size) {
		this.depth = depth;
		this.size = size;
		this.base = Array.from({ length: depth }, () => new Uint8Array(size));
		this.submission = new Array(depth).fill(0);
	}
	/** What a slice shows. */
	shown(k) {
		return this.drawn.get(k)?.pixels ?? this.base[k];
	}
	/** Slices that wait to be submitted, in order. */
	get dirty() {
		return [...this.drawn.keys()].sort((a, b) => a - b);
	}
	isDirty(k) {
		return this.drawn.has(k);
	}
	/** The submission that a slice shows, or was drawn over. */
	seen(k) {
		return this.drawn.get(k)?.seen ?? this.submission[k];
	}
	/** Slices of which the server has another submission than the one shown or drawn over here. */
	outdated(submissions) {
		return this.every((k) => this.seen(k) !== (submissions[k] ?? 0));
	}
	/** Clean slices to be fetched again. */
	stale(submissions) {
		return this.every((k) => !this.drawn.has(k) && this.submission[k] !== (submissions[k] ?? 0));
	}
	get undoSteps() {
		return this.done.length;
	}
	get redoSteps() {
		return this.undone.length;
	}
	/** Draw by hand, as one step; the slices that changed. A slice drawn back to what the server has is clean. */
	draw(slices, note) {
		const changes = [];
		for (const [k, pixels] of slices) {
			if (same(pixels, this.shown(k))) continue;
			const before = this.drawn.get(k) ?? null;
			changes.push({
				k,
				before,
				after: this.normal(k, {
					pixels: pixels.slice(),
					seen: this.seen(k)
				})
			});
		}
		return this.step({
			changes,
			note
		});
	}
	/** Keep a slice as it is shown although nobody drew on it: it is to be submitted as it is. */
	confirm(k) {
		if (this.drawn.has(k)) return [];
		const after = {
			pixels: this.base[k].slice(),
			seen: this.submission[k],
			confirmed: true
		};
		return this.step({ changes: [{
			k,
			before: null,
			after
		}] });
	}
	/** Give up what is drawn on slices, as one step: they show what the server has. */
	discard(slices) {
		const changes = slices.filter((k) => this.drawn.has(k)).map((k) => ({
			k,
			before: {
				pixels: this.drawn.get(k).pixels,
				seen: this.submission[k]
			},
			after: null
		}));
		return this.step({ changes });
	}
	/** The slices that changed, and the note as it was before the step; null where there is nothing to undo. */
	undo() {
		const step = this.done.pop();
		if (!step) return null;
		this.undone.push(step);
		return {
			changed: this.restore(step.changes.map(({ k, before }) => [k, before])),
			note: step.note?.before
		};
	}
	redo() {
		const step = this.undone.pop();
		if (!step) return null;
		this.done.push(step);
		return {
			changed: this.restore(step.changes.map(({ k, after }) => [k, after])),
			note: step.note?.after
		};
	}
	/** Take what the server has of all slices; drawn ones stay as drawn. The slices that look different now. */
	receive(voxels, submissions) {
		if (voxels.length !== this.depth * this.size) throw new Error("The answer does not fit this series; reload the page.");
		const changed = [];
		for (let k = 0; k < this.depth; k++) {
			const part = voxels.subarray(k * this.size, (k + 1) * this.size);
			if (!this.drawn.has(k) && !same(part, this.base[k])) changed.push(k);
			this.base[k] = part.slice();
			this.submission[k] = submissions[k] ?? 0;
		}
		return changed;
	}
	/** Put a draft in place: drawn, and no step of undo. */
	adopt(k, draft) {
		this.drawn.set(k, {
			...draft,
			pixels: draft.pixels.slice()
		});
	}
	/** What is drawn, as it is sent. */
	outgoing() {
		return new Map(this.dirty.map((k) => [k, {
			...this.drawn.get(k),
			pixels: this.shown(k).slice()
		}]));
	}
	/** The server has taken what was sent. What was drawn on since is still to be submitted.
	*
	* ``uncertain``: slices of which it took something else than was sent; they are fetched again.
	*/
	submitted(sent, submissions, uncertain = []) {
		for (const [k, { pixels }] of sent) {
			const former = this.base[k];
			this.base[k] = pixels.slice();
			this.submission[k] = uncertain.includes(k) ? UNKNOWN : submissions[k] ?? 0;
			const seen = this.submission[k];
			const kept = (state) => ({
				pixels: state?.pixels ?? former,
				seen
			});
			for (const change of [...this.done, ...this.undone].flatMap((step) => step.changes).filter((one) => one.k === k)) {
				change.before = kept(change.before);
				change.after = kept(change.after);
			}
			const now = this.drawn.get(k);
			if (!now || same(now.pixels, pixels)) this.drawn.delete(k);
			else this.drawn.set(k, {
				pixels: now.pixels,
				seen
			});
		}
	}
	/** Voxels of all slices as they are shown, slice after slice. */
	all() {
		const voxels = new Uint8Array(this.depth * this.size);
		for (let k = 0; k < this.depth; k++) voxels.set(this.shown(k), k * this.size);
		return voxels;
	}
	step(step) {
		if (!step.changes.length && !step.note) return [];
		this.done.push(step);
		if (this.done.length > UNDO_STEPS) this.done.shift();
		this.undone = [];
		return this.restore(step.changes.map(({ k, after }) => [k, after]));
	}
	restore(states) {
		return states.flatMap(([k, state]) => {
			const before = this.shown(k);
			const now = state && this.normal(k, state);
			if (now) this.drawn.set(k, now);
			else this.drawn.delete(k);
			return same(before, this.shown(k)) ? [] : [k];
		});
	}
	/** A drawing that is what the server has is none, unless a person has confirmed it. */
	normal(k, state) {
		return same(state.pixels, this.base[k]) && !state.confirmed ? null : state;
	}
	every(wanted) {
		return this.base.flatMap((_, k) => wanted(k) ? [k] : []);
	}
};
function same(a, b) {
	for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
	return a.length === b.length;
}
// src/session.ts
/** The work of one window on one series: what it shows, what it sends, what it keeps. Knows neither DOM nor viewer. */
var Session = class {
	series;
	structures;
	slices;
	points = [];
	drafts;
	/** Whether the browser keeps what is drawn: false where its store is full. */
	kept = true;
	constructor(series, structures, depth, size, store, page, now = Date.now) {
		this.series = series;
		this.structures = structures;
		this.slices = new Slices(depth, size);
		this.drafts = new Drafts(store, series, page, now);
	}
	/** Take what the server has, and the drafts that this browser kept; the slices put back from drafts. */
	open(voxels, head) {
		this.receive(voxels, head);
		return this.drafts.restore(this.slices, this.structures);
	}
	/** Take what the server has: labels of others, an answer of the model. No step of undo; drawn slices stay. */
	receive(voxels, head) {
		return this.slices.receive(this.structures.fromServer(voxels, head.structures), head.submissions);
	}
	/** One stroke, or whatever else changed pixels by hand. */
	draw(slices) {
		return this.keeping(this.slices.draw(slices));
	}
	/** A slice as clicked points changed it: one step with the points. */
	correct(k, pixels, points) {
		const note = {
			before: this.points,
			after: points
		};
		this.points = points;
		return this.keeping(this.slices.draw(/* @__PURE__ */ new Map([[k, pixels]]), note));
	}
	confirm(k) {
		return this.keeping(this.slices.confirm(k));
	}
	discard(slices) {
		return this.keeping(this.slices.discard(slices));
	}
	undo() {
		return this.stepped(this.slices.undo());
	}
	redo() {
		return this.stepped(this.slices.redo());
	}
	/** What is drawn, to be submitted; null where nothing is.
	*
	* Raises:
	*     Error: a segment that is drawn has no structure on the server.
	*/
	submission() {
		const sent = this.slices.outgoing();
		if (!sent.size) return null;
		const used = new Set([...sent.values()].flatMap(({ pixels }) => [...new Set(pixels)]));
		const nameless = this.structures.key(used).filter((one) => !one.id);
		if (nameless.length) {
			const which = nameless.map((one) => `"${one.name}"`).join(", ");
			throw new Error(`${which} has no structure on the server: name it in the list of structures first, then submit.`);
		}
		const all = [...used, ...this.structures.all.filter((one) => one.id).map((one) => one.value)];
		const label_info = this.structures.key(all).map(({ id, name, value }) => ({
			id,
			name,
			idx: value
		}));
		const drawn = Object.fromEntries([...sent].map(([k, { seen }]) => [k, seen]));
		const voxels = new Uint8Array(this.slices.depth * this.slices.size);
		for (const [k, { pixels }] of sent) voxels.set(pixels, k * this.slices.size);
		return {
			voxels,
			label_info,
			drawn,
			sent
		};
	}
	submitted(submission, submissions, uncertain = []) {
		this.slices.submitted(submission.sent, submissions, uncertain);
		this.points = [];
		this.keep();
	}
	/** The server's list of structures. Whether names or numbers changed. */
	rename(server) {
		return this.structures.update(server);
	}
	/** Keep what is drawn in the browser, and say that this window is open, or is closing. */
	keep(closing = false) {
		return this.kept = this.drafts.keep(this.slices, this.structures, closing);
	}
	keeping(changed) {
		this.keep();
		return changed;
	}
	stepped(step) {
		if (!step) return null;
		if (step.note) this.points = step.note;
		return this.keeping(step.changed);
	}
};
// src/structures.ts
var VALUES = 255;
var GREY = [
	170,
	170,
	170
];
var lower = (name) => name.trim().toLowerCase();
var Structures = class {
	list = [];
	gone = [];
	/** Those of the server, in its order, and then what only this window has. */
	get all() {
		return [...this.list];
	}
	/** Segments that were drawn here and have no structure on the server. */
	get unnamed() {
		return this.list.filter((one) => !one.id);
	}
	of(value) {
		return this.list.find((one) => one.value === value) ?? this.gone.find((one) => one.value === value);
	}
	named(name) {
		return this.list.find((one) => lower(one.name) === lower(name));
	}
	/** Take the server's list: identities keep their values here. Whether anything but counts changed. */
	update(server) {
		const before = JSON.stringify(this.list.map(({ id, name, value }) => [
			id,
			name,
			value
		]));
		const known = [...this.list, ...this.gone];
		const kept = /* @__PURE__ */ new Set();
		const taken = new Set(known.map((one) => one.value));
		const next = server.map(({ id, name, color, slices }, place) => {
			const here = known.find((one) => one.id === id) ?? this.list.find((one) => !one.id && lower(one.name) === lower(name));
			if (here) kept.add(here);
			return {
				id,
				name,
				color,
				slices,
				value: here?.value ?? this.free(place + 1, taken)
			};
		});
		const left = known.filter((one) => !kept.has(one));
		this.gone = left.filter((one) => one.id);
		this.list = [...next, ...left.filter((one) => !one.id)];
		return JSON.stringify(this.list.map(({ id, name, value }) => [
			id,
			name,
			value
		])) !== before;
	}
	/** A segment that only this window has: the viewer's own button made it, or a draft has one that was deleted. */
	addUnnamed(name, value = this.free(1)) {
		const one = {
			id: "",
			name,
			value,
			color: GREY,
			slices: 0
		};
		this.list.push(one);
		return one;
	}
	/** The value under which something from elsewhere is drawn here: from the server, or from a draft. */
	valueFor({ id, name }) {
		const known = [...this.list, ...this.gone];
		const here = id ? known.find((one) => one.id === id) : this.named(name);
		if (here) return here.value;
		if (!id) return this.addUnnamed(name).value;
		const one = {
			id,
			name,
			color: GREY,
			slices: 0,
			value: this.free(1)
		};
		this.gone.push(one);
		return one.value;
	}
	/** Give up a segment that the viewer's own button removed before it had a name. */
	forget(value) {
		this.list = this.list.filter((one) => one.id || one.value !== value);
	}
	/** From values of the server, the places in ``order`` from 1, to those here. */
	fromServer(voxels, order) {
		const table = /* @__PURE__ */ new Uint8Array(256);
		order.forEach((one, place) => table[place + 1] = this.valueFor(one));
		return voxels.map((value) => table[value]);
	}
	/** What each value in use here means: goes along with whatever is sent or kept. */
	key(used) {
		return [...new Set(used)].filter(Boolean).map((value) => {
			const { id, name } = this.of(value) ?? {
				id: "",
				name: `Segment ${value}`
			};
			return {
				id,
				name,
				value
			};
		});
	}
	free(wanted, taken = new Set([...this.list, ...this.gone].map((one) => one.value))) {
		let value = wanted;
		if (taken.has(value)) for (value = 1; taken.has(value);) value++;
		if (value > VALUES) throw new Error(`There are ${VALUES} structures: delete one first.`);
		taken.add(value);
		return value;
	}
};
// src/trail.ts
var [TRAIL, SKIPPED, UNSHOWN, JUMP] = [
	"fewsam.trail",
	"fewsam.skipped",
	"fewsam.unshown",
	"fewsam.jump"
];
var Trail = class {
	store;
	constructor(store) {
		this.store = store;
	}
	/** Note where the person is, before Next leads elsewhere. */
	leave(place) {
		const places = this.read(TRAIL, []);
		const last = places[places.length - 1];
		if (last?.series === place.series && last.slice === place.slice) return;
		this.write(TRAIL, [...places, place].slice(-200));
	}
	get length() {
		return this.read(TRAIL, []).length;
	}
	/** Where the person was before; null at the start. */
	back() {
		const places = this.read(TRAIL, []);
		const last = places.pop() ?? null;
		this.write(TRAIL, places);
		return last;
	}
	/** Do not offer a slice again in this sitting. */
	skip(series, slice) {
		const all = this.read(SKIPPED, {});
		this.write(SKIPPED, {
			...all,
			[series]: [.../* @__PURE__ */ new Set([...all[series] ?? [], slice])]
		});
	}
	skipped(series) {
		return this.read(SKIPPED, {})[series] ?? [];
	}
	/** The viewer cannot show a series: it is not offered again. */
	unshowable(series) {
		this.write(UNSHOWN, [.../* @__PURE__ */ new Set([...this.unshown, series])]);
	}
	get unshown() {
		return this.read(UNSHOWN, []);
	}
	/** Go to a place in another study once that is loaded. */
	depart(place) {
		this.write(JUMP, place);
	}
	get destination() {
		return this.read(JUMP, null);
	}
	arrived() {
		this.store.removeItem(JUMP);
	}
	read(key, otherwise) {
		try {
			return JSON.parse(this.store.getItem(key) ?? "null") ?? otherwise;
		} catch {
			return otherwise;
		}
	}
	write(key, value) {
		this.store.setItem(key, JSON.stringify(value));
	}
};
export { Drafts, Session, Slices, Structures, Trail, corrected, pack, unpack };
