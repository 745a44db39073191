/* fewsam panel, built from sources 38f7cad94dabe880c2e05e63d9d36198ce00a103ebc03196036f2f6b11afebc6 */
(function() {
	// src/api.ts
	/** What the server says no to, with all that it says. */
	var Refusal = class extends Error {
		status;
		body;
		constructor(message, status, body) {
			super(message);
			this.status = status;
			this.body = body;
		}
	};
	var base = (document.currentScript?.src ?? location.href).replace(/\/ohif\/.*$/, "");
	var client = (() => {
		let id = sessionStorage.getItem("fewsam.client");
		if (!id) sessionStorage.setItem("fewsam.client", id = `ohif-${Math.random().toString(36).slice(2, 10)}`);
		return id;
	})();
	async function ask(path, init) {
		let answer;
		try {
			answer = await fetch(base + path, init);
		} catch {
			throw new Error("The server does not answer. What you drew stays here; try again when it is back.");
		}
		if (answer.ok) return answer;
		const body = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
		throw new Refusal(typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail ?? body), answer.status, body);
	}
	async function framed(answer) {
		const bytes = new Uint8Array(await answer.arrayBuffer());
		const length = new DataView(bytes.buffer).getUint32(0, true);
		return {
			head: JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))),
			voxels: bytes.subarray(4 + length)
		};
	}
	var json = (body) => ({
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify(body)
	});
	var getState = async (image) => (await ask(`/fewsam/state${image ? `?image=${encodeURIComponent(image)}` : ""}`)).json();
	var getLabelmap = async (image) => framed(await ask(`/fewsam/labelmap?image=${encodeURIComponent(image)}`));
	var segment = async (image) => framed(await ask(`/fewsam/segment?image=${encodeURIComponent(image)}`, { method: "POST" }));
	var correct = async (body) => framed(await ask("/fewsam/clicks", json(body)));
	var next = async (asked) => (await ask("/fewsam/next", json({
		client_id: client,
		...asked
	}))).json();
	var train = async () => void await ask("/train/segmentation", json({}));
	var stopTraining = async () => void await ask("/train/", { method: "DELETE" });
	var addStructure = async (name) => (await ask("/fewsam/structures", json({ name }))).json();
	var renameStructure = async (id, name) => (await ask("/fewsam/structures/rename", json({
		id,
		name
	}))).json();
	var deleteStructure = async (id) => (await ask("/fewsam/structures/delete", json({ id }))).json();
	async function submit(image, { voxels, label_info, drawn }, agreed) {
		const form = new FormData();
		form.append("params", JSON.stringify({
			label_info,
			client_id: client,
			drawn,
			...agreed
		}));
		form.append("label", new Blob([voxels]), "label.bin");
		return (await ask(`/fewsam/label?image=${encodeURIComponent(image)}`, {
			method: "PUT",
			body: form
		})).json();
	}
	var history = async (image, slice) => (await ask(`/fewsam/history?${new URLSearchParams({
		image,
		slice: String(slice)
	})}`)).json();
	/** One slice as it was labelled once. */
	var shot = async (image, number) => framed(await ask(`/fewsam/shot?${new URLSearchParams({
		image,
		shot: String(number)
	})}`));
	/** Take back what was said of a slice; its label stays in the history. */
	var unlabel = async (image, slice, seen) => void await ask("/fewsam/unlabel", json({
		image,
		slice,
		seen,
		client_id: client
	}));
	// src/ohif.ts
	var host = {
		services: null,
		commands: null,
		extensions: null
	};
	var cornerstone = () => window.cornerstone;
	var tools = () => window.cornerstoneTools;
	var dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
	/** The viewport that is worked in, and the image series in it; null while there is none. */
	function active() {
		try {
			const state = host.services.viewportGridService.getState();
			const viewport = state.viewports.get(state.activeViewportId);
			for (const uid of viewport?.displaySetInstanceUIDs ?? []) {
				const displaySet = host.services.displaySetService.getDisplaySetByUID(uid);
				if (displaySet?.images?.length && displaySet.Modality !== "SEG") return {
					viewportId: state.activeViewportId,
					displaySet
				};
			}
		} catch {}
		return null;
	}
	/** A stored segmentation that is shown instead of images, by a double click on it; null while images are. */
	function storedSegmentation() {
		try {
			const state = host.services.viewportGridService.getState();
			const displaySet = (state.viewports.get(state.activeViewportId)?.displaySetInstanceUIDs ?? []).map((uid) => host.services.displaySetService.getDisplaySetByUID(uid)).find((one) => one?.Modality === "SEG");
			return displaySet && !active() ? {
				viewportId: state.activeViewportId,
				displaySet
			} : null;
		} catch {
			return null;
		}
	}
	/** Show a series in a viewport again, instead of a stored segmentation. */
	function showSeries(viewportId, displaySetInstanceUID) {
		host.services.viewportGridService.setDisplaySetsForViewport({
			viewportId,
			displaySetInstanceUIDs: [displaySetInstanceUID]
		});
	}
	/** Whether the viewer has something that shows objects of a kind as an image. */
	function shows(sopClass) {
		const handlers = (host.extensions?.getActiveDataSource ? host.extensions.modules?.sopClassHandlerModule ?? [] : []).flatMap(({ module }) => module ?? []).filter((one) => /stack/i.test(one?.name ?? ""));
		return !handlers.length || handlers.some((one) => one.sopClassUids?.includes(sopClass));
	}
	/** Cornerstone's viewport, once it shows something. */
	function viewportOf(viewportId) {
		try {
			return host.services.cornerstoneViewportService.getCornerstoneViewport(viewportId) ?? null;
		} catch {
			return null;
		}
	}
	/** Bring our panel to the front: 3.12 shows its own as soon as there is a segmentation. */
	function showPanel(id) {
		const bring = () => host.services.panelService?.activatePanel?.(id, true);
		for (const later of [
			0,
			500,
			1500
		]) window.setTimeout(bring, later);
	}
	function useTool(viewportId, toolName) {
		const group = host.services.toolGroupService.getToolGroupForViewport(viewportId);
		if (group) host.commands.run("setToolActiveToolbar", {
			toolName,
			toolGroupIds: [group.id]
		});
	}
	function brushSize(radius) {
		host.commands.run("setBrushSize", {
			value: radius,
			toolNames: [
				"CircularBrush",
				"CircularEraser",
				"ThresholdCircularBrushDynamic"
			]
		});
	}
	function planeOf(imageId) {
		const plane = cornerstone().metaData.get("imagePlaneModule", imageId) ?? {};
		const vector = (v, otherwise) => v ? Array.from(v, Number) : otherwise;
		const row = vector(plane.rowCosines, [
			1,
			0,
			0
		]);
		const column = vector(plane.columnCosines, [
			0,
			1,
			0
		]);
		const normal = [
			row[1] * column[2] - row[2] * column[1],
			row[2] * column[0] - row[0] * column[2],
			row[0] * column[1] - row[1] * column[0]
		];
		return {
			position: vector(plane.imagePositionPatient, [
				0,
				0,
				0
			]),
			row,
			column,
			normal,
			spacing: [Number(plane.columnPixelSpacing ?? 1), Number(plane.rowPixelSpacing ?? 1)],
			columns: plane.columns,
			rows: plane.rows
		};
	}
	// src/export.ts
	/** OHIF's own export of DICOM SEG, mended where the viewer's is broken.
	*
	* 3.10 names no place to store the object, so that storing fails in silence; and it pairs each slice with the position
	* of its mirror image along the series, because it sorts the positions from the last slice to the first and leaves the
	* voxels in the order of the viewer. Newer viewers keep both from last to first.
	*/
	function mendExport() {
		for (const context of Object.values(host.commands.contexts ?? {})) for (const name of ["storeSegmentation", "downloadSegmentation"]) {
			const command = context?.[name];
			if (!command || command.mended) continue;
			const stock = command.commandFn;
			command.mended = true;
			command.commandFn = (options) => {
				const dataSource = options.dataSource ?? host.extensions.getActiveDataSource()[0];
				if (lastToFirst(options.segmentationId)) return stock({
					...options,
					dataSource
				});
				if (name === "storeSegmentation") return store(options.segmentationId, dataSource);
				return ordered(options.segmentationId, () => stock(options));
			};
		}
	}
	async function store(segmentationId, dataSource) {
		const say = (type, message) => host.services.uiNotificationService?.show({
			title: "Export DICOM SEG",
			message,
			type
		});
		try {
			const options = { SeriesDescription: "OHIF export" };
			const made = ordered(segmentationId, () => host.commands.runCommand("generateSegmentation", {
				segmentationId,
				options
			}));
			await dataSource.store.dicom(made.dataset);
			say("success", "Stored in the PACS.");
		} catch (error) {
			say("error", `Not stored: ${error.message}`);
		}
	}
	function labelmapOf(segmentationId) {
		return tools().segmentation.state.getSegmentation(segmentationId).representationData.Labelmap;
	}
	/** Place of a labelmap's slice along the normal of the series. */
	function place(imageId) {
		const { position, normal } = planeOf(cornerstone().cache.getImage(imageId).referencedImageId ?? imageId);
		return dot(position, normal);
	}
	function lastToFirst(segmentationId) {
		const places = labelmapOf(segmentationId).imageIds.map(place);
		return places.every((value, n) => n === 0 || places[n - 1] >= value);
	}
	/** Do something while the slices are in the order that the export takes them to have. */
	function ordered(segmentationId, work) {
		const labelmap = labelmapOf(segmentationId);
		const imageIds = labelmap.imageIds;
		labelmap.imageIds = [...imageIds].sort((a, b) => place(b) - place(a));
		try {
			return work();
		} finally {
			labelmap.imageIds = imageIds;
		}
	}
	// src/texts.ts
	function count(n, what) {
		return `${n} ${what}${n === 1 ? "" : "s"}`;
	}
	/** The number of slice k that the viewer shows in its corner ("I: 10"). */
	var numbering = { of: (k) => k + 1 };
	/** Slices as the viewer counts them: "slice 9", "slices 3, 9 and 2 more". */
	function slicesOf(ks) {
		const shown = ks.map((k) => numbering.of(k)).sort((a, b) => a - b).slice(0, 6).join(", ");
		const more = ks.length > 6 ? ` and ${ks.length - 6} more` : "";
		return `slice${ks.length === 1 ? "" : "s"} ${shown}${more}`;
	}
	function capital(text) {
		return text.charAt(0).toUpperCase() + text.slice(1);
	}
	function greeting(known, drafts, state) {
		const parts = [];
		if (known.drawn.length) parts.push(`${count(known.drawn.length, "slice")} of this series labelled.`);
		else parts.push("Draw a structure on two or three slices, then Submit.");
		if (known.served) parts.push("The last segmentation is shown.");
		if (drafts) parts.push(`${count(drafts, "slice")} drawn and not submitted: put back.`);
		if (known.overlaps?.length) parts.push(`Structures overlap on ${slicesOf(known.overlaps)}: the viewer shows the later one of the list there, and what you leave as it is keeps both.`);
		if (state.encoder.trained === false) parts.push("The encoder is untrained: results rest on your labels alone.");
		return parts.join(" ");
	}
	function receipt(answer) {
		const changed = answer.added.length + answer.superseded.length + answer.cleared.length;
		const parts = [changed ? `${count(changed, "slice")} submitted.` : "Nothing new in this label: no slice changed."];
		if (answer.replaced.length) parts.push(`Yours is now the label of ${slicesOf(answer.replaced)}; the other one stays in the history.`);
		if (answer.kept.length) parts.push(`${capital(slicesOf(answer.kept))} stays as it was submitted: yours was an older copy.`);
		if (answer.untouched.length) parts.push(`${count(answer.untouched.length, "slice")} are the model's own and teach nothing.`);
		if (answer.overlaps.length) parts.push(`Structures that overlap on ${slicesOf(answer.overlaps)} were kept.`);
		if (answer.waiting_for_pacs) parts.push("The PACS is away: the label is kept and stored there when it is back.");
		return parts.join(" ");
	}
	/** What stands below the curve: what waits for the PACS, what could not be taken, what others drew. */
	function problems(state, foreign, unkept) {
		const found = (state?.problems ?? []).map((one) => `${one.file}: ${one.problem}`);
		found.push(...state?.image?.notes ?? []);
		if (state?.pacs?.problem) found.unshift(state.pacs.problem);
		if (state?.pacs?.waiting) found.unshift(`${count(state.pacs.waiting, "label")} kept here until the PACS takes them.`);
		if (foreign.length) found.unshift(`${capital(slicesOf(foreign))}: submitted from elsewhere since you drew on it. Nothing is overwritten unasked.`);
		if (unkept) found.unshift("The browser's store is full: what you draw would not survive a reload. Submit it.");
		return found;
	}
	/** Why the server asks before it takes a submission. */
	function conflict(slices, who) {
		return `${capital(slicesOf(slices))}: submitted from elsewhere${who ? ` by ${who}` : ""} since you drew on it. Nothing of yours was sent, and it stays here. 'Submit mine' makes yours the label (the other one stays in the history); 'Take theirs' shows the other one.`;
	}
	function emptied(slices) {
		return `${capital(slicesOf(slices))} had a label and ${slices.length === 1 ? "is" : "are"} empty now. Say that nothing is there?`;
	}
	/** The one thing to do next, and why others cannot be done now: by button. */
	function guide(now) {
		const blocked = {};
		const all = [
			"submit",
			"theirs",
			"segment",
			"train",
			"next",
			"skip"
		];
		const block = (why, names) => names.forEach((name) => blocked[name] ??= why);
		if (!now.open) block("Open an image series first.", [...all, "back"]);
		if (now.busy) block(`${now.busy} …`, all.filter((name) => name !== "train" || !now.training));
		if (!now.dirty) block("Nothing is drawn that was not submitted.", ["submit"]);
		if (!now.labelled) block("Submit a label of at least one slice first.", ["segment", "train"]);
		const [, highlight, hint] = [
			[
				!now.structures,
				"add",
				"Name a structure"
			],
			[
				!now.labelled && !now.dirty,
				"brush",
				"Draw on 2 or 3 slices"
			],
			[
				now.dirty > 0,
				"submit",
				`Submit ${count(now.dirty, "slice")}`
			],
			[
				!now.answered,
				"segment",
				"Segment"
			],
			[
				true,
				"next",
				"Next slice, or correct this one"
			]
		].find(([wanted]) => wanted);
		return now.open ? {
			highlight,
			hint,
			blocked
		} : {
			highlight: "",
			hint: "",
			blocked
		};
	}
	function progress(state, busy) {
		const stats = state?.training;
		const parts = [];
		if (busy) parts.push(`${busy} …`);
		if (stats?.running) {
			const share = stats.total_epochs ? (stats.epoch ?? 0) / stats.total_epochs : 0;
			parts.push(stats.waiting_for ? `waiting for ${stats.waiting_for}` : `training: ${stats.state ?? ""} ${Math.round(100 * share)} %`);
		}
		if (!parts.length && state) parts.push(state.trained ? `Model ${state.model_version} is live.` : "No trained model yet: answers are untrained.");
		return parts.join(" · ");
	}
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
	// src/journey.ts
	/** From slice to slice: Next stays in the open series while something there is worth labelling, and Back leads back. */
	var TRIES = 20;
	var Journey = class {
		panel;
		trail = new Trail(sessionStorage);
		offered = null;
		constructor(panel) {
			this.panel = panel;
		}
		get canGoBack() {
			return this.trail.length > 0;
		}
		async next(leave = false) {
			await this.panel.work("Choosing", async (map) => {
				map.commit();
				map.session.keep();
				const offer = await this.ask(map, leave);
				if (!offer.id) return this.nothingLeft(offer.left ?? 0, leave);
				this.trail.leave(this.here(map));
				if (offer.id !== map.series) return this.go({
					study: offer.study ?? "",
					series: offer.id,
					slice: offer.slice ?? 0
				});
				this.offered = offer.slice ?? 0;
				map.geometry.jump(this.offered);
				this.panel.say(`${capital(slicesOf([this.offered]))}: its label would teach most.`, "good");
			});
		}
		/** Another slice instead of the one on the screen. */
		async skip() {
			const map = this.panel.map;
			if (!map) return;
			this.trail.skip(map.series, this.offered ?? map.geometry.current());
			this.offered = null;
			await this.next();
		}
		back() {
			const map = this.panel.map;
			const place = this.trail.back();
			if (!place) return this.panel.say("You are where you began.", "");
			if (map?.series !== place.series) return this.go(place);
			map.geometry.jump(place.slice);
			this.panel.say(`Back on ${slicesOf([place.slice])}.`, "");
			this.panel.show();
		}
		/** After a change of study: to the slice it was made for. */
		arrive() {
			const [there, map] = [this.trail.destination, this.panel.map];
			if (!there || !map || there.series !== map.series) return;
			this.trail.arrived();
			window.setTimeout(() => map.geometry.jump(there.slice), 600);
			this.panel.say(`Another study, ${slicesOf([there.slice])}. Back leads to where you were.`, "good");
		}
		/** Whether Next led to a series that the viewer does not show: it says so, and Back leads back. */
		stranded() {
			const there = this.trail.destination;
			if (!there) return false;
			this.trail.unshowable(there.series);
			this.trail.arrived();
			this.panel.view.say("The viewer cannot show the series that was next; it is not offered again.", "asks", [{
				label: "Back to where I was",
				act: () => this.back()
			}]);
			return true;
		}
		/** An offer that the viewer can show. */
		async ask(map, leave) {
			let offer = {};
			for (let n = 0; n < TRIES; n++) {
				const { unshown } = this.trail;
				offer = await next({
					image: map.series,
					skip: this.trail.skipped(map.series),
					leave,
					unshown
				});
				if (!offer.id || !offer.sop_class || shows(offer.sop_class)) return offer;
				this.trail.unshowable(offer.id);
			}
			return { left: offer.left };
		}
		nothingLeft(left, leave) {
			if (leave) return this.panel.say("Nothing is left to label: every slice is labelled, skipped, or somebody else is at it.", "good");
			const rest = left ? `${count(left, "slice")} of this series ${left === 1 ? "is" : "are"} not labelled, and none is worth asking for` : "Every slice of this series is labelled";
			this.panel.view.say(`${rest}. Go on in another series?`, "asks", [{
				label: "Go there",
				act: () => void this.next(true)
			}, {
				label: "Stay",
				act: () => this.panel.say("Draw, correct or train on; Next slice asks again.", "")
			}]);
		}
		here(map) {
			return {
				study: active()?.displaySet.StudyInstanceUID ?? "",
				series: map.series,
				slice: map.geometry.current()
			};
		}
		go(place) {
			this.trail.depart(place);
			const there = new URLSearchParams({
				StudyInstanceUIDs: place.study,
				initialSeriesInstanceUID: place.series
			});
			this.panel.say("Going to another study.", "");
			location.assign(`${location.pathname}?${there}`);
		}
	};
	// src/geometry.ts
	/** Where the slices of a series lie, as the viewer has them: k in ITK's order, places along the viewer's slider, pixels. */
	var Geometry = class {
		viewportId;
		planes;
		frames;
		constructor(viewportId, planes, frames) {
			this.viewportId = viewportId;
			this.planes = planes;
			this.frames = frames;
		}
		/** Place of slice k along the viewer's slider, 0 at its top. */
		frameOf(k) {
			return this.frames[k];
		}
		/** Slice k that the viewport shows. */
		current() {
			const viewport = viewportOf(this.viewportId);
			if (!viewport) return 0;
			const imageId = viewport.getCurrentImageId?.();
			const camera = viewport.getCamera?.();
			const place = imageId ? planeOf(imageId).position : camera?.focalPoint;
			return place ? this.nearest(Array.from(place)) : 0;
		}
		nearest(world) {
			let best = 0;
			let least = Infinity;
			this.planes.forEach((plane, k) => {
				const away = Math.abs(dot(world.map((v, axis) => v - plane.position[axis]), plane.normal));
				if (away < least) [best, least] = [k, away];
			});
			return best;
		}
		/** Pixel (i, j) of a point in space on slice k. */
		pixel(world, k) {
			const plane = this.planes[k];
			const from = world.map((v, axis) => v - plane.position[axis]);
			return [Math.round(dot(from, plane.row) / plane.spacing[0]), Math.round(dot(from, plane.column) / plane.spacing[1])];
		}
		world(i, j, k) {
			const { position, row, column, spacing } = this.planes[k];
			return position.map((v, axis) => v + row[axis] * spacing[0] * i + column[axis] * spacing[1] * j);
		}
		jump(k) {
			const viewport = viewportOf(this.viewportId);
			if (!viewport) return;
			const shown = active()?.viewportId === this.viewportId ? viewport.getImageIds?.() : null;
			const wanted = this.planes[k].position;
			let imageIndex = this.frames[k];
			if (shown?.length === this.planes.length) {
				const found = shown.findIndex((id) => {
					const { position, normal } = planeOf(id);
					return Math.abs(dot(position.map((v, axis) => v - wanted[axis]), normal)) < .001;
				});
				if (found >= 0) imageIndex = found;
			}
			cornerstone().utilities.jumpToSlice(viewport.element, { imageIndex });
		}
	};
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
	// src/labelmap.ts
	/** The labelmap of one series in the viewer: its voxels follow the session, and strokes in it become the session's. */
	/** The browser's name for this page: drafts of each page are kept apart. */
	var page = Math.random().toString(36).slice(2, 10);
	var Labelmap = class Labelmap {
		series;
		viewportId;
		displaySet;
		structures;
		segmentationId;
		displaySetId;
		session;
		geometry;
		onStroke = () => {};
		arrays = [];
		timer = 0;
		pressed = false;
		ended = false;
		unsubscribe = [];
		constructor(series, viewportId, displaySet, structures) {
			this.series = series;
			this.viewportId = viewportId;
			this.displaySet = displaySet;
			this.structures = structures;
			this.displaySetId = displaySet.displaySetInstanceUID;
			this.segmentationId = `fewsam-${this.displaySetId}`;
		}
		static async open(viewportId, displaySet, structures) {
			const map = new Labelmap(displaySet.SeriesInstanceUID, viewportId, displaySet, structures);
			await map.create();
			const [depth, size] = [map.arrays.length, map.arrays[0]?.length ?? 0];
			map.session = new Session(map.series, structures, depth, size, localStorage, page);
			map.listen();
			return map;
		}
		/** Whether the viewer still has the labelmap and shows it; its own list of segmentations has a Delete. */
		get intact() {
			if (!segmentationOf(this.segmentationId)?.representationData?.Labelmap) return false;
			const shown = host.services.segmentationService.getSegmentationRepresentations?.(this.viewportId);
			return !shown || shown.some((one) => one.segmentationId === this.segmentationId);
		}
		/** Make it anew after the viewer lost it, with what was drawn. */
		async recover() {
			if (!!segmentationOf(this.segmentationId)) {
				await this.show();
				return;
			}
			await this.create();
			this.render(this.arrays.map((_, k) => k));
		}
		/** Show it in the viewport, also again after the viewport changed, and have tools draw in it. */
		async show() {
			const service = host.services.segmentationService;
			const type = tools().Enums.SegmentationRepresentations.Labelmap;
			await service.addSegmentationRepresentation(this.viewportId, {
				segmentationId: this.segmentationId,
				type
			});
			this.activate();
		}
		activate() {
			host.services.segmentationService.setActiveSegmentation?.(this.viewportId, this.segmentationId);
		}
		/** Whether the viewer's tools draw in this labelmap, and not in another segmentation that was opened since. */
		get isActive() {
			const active = host.services.segmentationService.getActiveSegmentation?.(this.viewportId);
			return !active || active.segmentationId === this.segmentationId;
		}
		/** Give each structure its segment in the viewer, with name and colour. */
		segments() {
			const service = host.services.segmentationService;
			const segmentation = segmentationOf(this.segmentationId);
			if (!segmentation) return;
			for (const { name, value, color } of this.structures.all) try {
				if (!segmentation.segments[value]) service.addSegment(this.segmentationId, {
					segmentIndex: value,
					label: name,
					color: [...color, 255]
				});
				if (segmentation.segments[value].label !== name) service.setSegmentLabel(this.segmentationId, value, name);
				service.setSegmentColor(this.viewportId, this.segmentationId, value, [...color, 255]);
			} catch {}
		}
		/** Segments that the viewer's own button added: value and the viewer's name. */
		strangers() {
			return Object.values(segmentationOf(this.segmentationId)?.segments ?? {}).filter((one) => one && !this.structures.of(one.segmentIndex)).map((one) => ({
				value: one.segmentIndex,
				label: one.label || `Segment ${one.segmentIndex}`
			}));
		}
		choose(value) {
			if ((segmentationOf(this.segmentationId)?.segments)?.[value]) host.services.segmentationService.setActiveSegment(this.segmentationId, value);
		}
		/** The segment that the viewer's tools draw; null where there is none. */
		get chosen() {
			return Object.values(segmentationOf(this.segmentationId)?.segments ?? {}).find((one) => one?.active)?.segmentIndex ?? null;
		}
		/** Wait until no stroke is being drawn: half of one is no step, and nothing is put under it. */
		async released() {
			while (this.drawing) await new Promise((done) => window.setTimeout(done, 50));
		}
		/** Whether the mouse is down. */
		get drawing() {
			return this.pressed;
		}
		/** Take what was drawn since the last look as one step. */
		commit() {
			if (this.ended || !segmentationOf(this.segmentationId)) return [];
			const slices = /* @__PURE__ */ new Map();
			this.arrays.forEach((array, k) => {
				if (!same(array, this.session.slices.shown(k))) slices.set(k, array);
			});
			if (!slices.size) return [];
			const changed = this.session.draw(slices);
			if (changed.length) this.onStroke(changed);
			return changed;
		}
		/** Show what the session has of slices. */
		render(slices) {
			if (!slices.length) return;
			slices.forEach((k) => this.arrays[k].set(this.session.slices.shown(k)));
			const frames = slices.map((k) => this.geometry.frameOf(k));
			tools().segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.segmentationId, frames);
		}
		close() {
			this.ended = true;
			window.clearTimeout(this.timer);
			this.unsubscribe.forEach((end) => end());
		}
		async create() {
			const service = host.services.segmentationService;
			if (!segmentationOf(this.segmentationId)) {
				const segments = {};
				for (const { name, value } of this.structures.all) segments[value] = {
					segmentIndex: value,
					label: name,
					active: value === 1,
					locked: false
				};
				const options = {
					segmentationId: this.segmentationId,
					label: "fewsam",
					segments
				};
				await service.createLabelmapForDisplaySet(this.displaySet, options);
			}
			await this.show();
			this.findVoxels();
			this.segments();
		}
		findVoxels() {
			const found = segmentationOf(this.segmentationId).representationData.Labelmap.imageIds.map((id, frame) => {
				const image = cornerstone().cache.getImage(id);
				return {
					frame,
					plane: planeOf(image.referencedImageId ?? id),
					array: image.voxelManager.getScalarData()
				};
			});
			found.sort((a, b) => dot(a.plane.position, a.plane.normal) - dot(b.plane.position, a.plane.normal));
			this.arrays = found.map((one) => one.array);
			const frames = found.map((one) => one.frame);
			this.geometry = new Geometry(this.viewportId, found.map((one) => one.plane), frames);
		}
		listen() {
			const later = () => {
				window.clearTimeout(this.timer);
				this.timer = window.setTimeout(() => this.pressed ? later() : this.commit(), 120);
			};
			const modified = (event) => {
				if (!event.detail?.segmentationId || event.detail.segmentationId === this.segmentationId) later();
			};
			const name = tools().Enums.Events.SEGMENTATION_DATA_MODIFIED;
			cornerstone().eventTarget.addEventListener(name, modified);
			const down = () => void (this.pressed = true);
			const up = () => {
				this.pressed = false;
				later();
			};
			const moved = (event) => {
				if (this.pressed && !event.buttons) up();
			};
			window.addEventListener("mousedown", down, true);
			window.addEventListener("mouseup", up, true);
			window.addEventListener("mousemove", moved, true);
			this.unsubscribe.push(() => {
				cornerstone().eventTarget.removeEventListener(name, modified);
				window.removeEventListener("mousedown", down, true);
				window.removeEventListener("mouseup", up, true);
				window.removeEventListener("mousemove", moved, true);
			});
		}
	};
	function segmentationOf(id) {
		return tools().segmentation.state.getSegmentation(id);
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
	// src/strip.ts
	var WIDTH = 12;
	var Overlay = class {
		map;
		strip = document.createElement("canvas");
		marks = document.createElementNS("http://www.w3.org/2000/svg", "svg");
		parent = null;
		timer = 0;
		uncertainty = [];
		labelled = [];
		/** Called with the pixel under a click while points are being set; null: the viewer's own tools work. */
		onPoint = null;
		constructor(map) {
			this.map = map;
			this.strip.id = "fewsam-strip";
			this.strip.title = "Uncertainty by slice: the redder, the less sure. White ticks are labelled slices. Click to go there.";
			this.strip.style.cssText = `position:absolute;right:24px;top:40px;width:${WIDTH}px;z-index:20;cursor:pointer`;
			this.strip.addEventListener("mousedown", (event) => {
				event.stopPropagation();
				const rect = this.strip.getBoundingClientRect();
				const frame = Math.floor((event.clientY - rect.top) / rect.height * this.map.session.slices.depth);
				for (let k = 0; k < this.map.session.slices.depth; k++) if (this.map.geometry.frameOf(k) === frame) this.map.geometry.jump(k);
			});
			this.marks.id = "fewsam-points";
			this.marks.style.cssText = "position:absolute;inset:0;width:100%;height:100%;pointer-events:none;z-index:19";
			this.attach();
			this.timer = window.setInterval(() => this.attach(), 500);
		}
		pointer = (event) => {
			if (!this.onPoint || event.button !== 0 || event.target === this.strip) return;
			event.stopImmediatePropagation();
			event.preventDefault();
			if (event.type !== "mousedown") return;
			const viewport = viewportOf(this.map.viewportId);
			const rect = viewport?.canvas?.getBoundingClientRect() ?? viewport?.element.getBoundingClientRect();
			if (!rect) return;
			const world = viewport.canvasToWorld([event.clientX - rect.left, event.clientY - rect.top]);
			const k = this.map.geometry.current();
			const [i, j] = this.map.geometry.pixel(Array.from(world), k);
			this.onPoint(i, j, k);
		};
		events = [
			"mousedown",
			"mouseup",
			"mousemove",
			"click"
		];
		attach() {
			const parent = (viewportOf(this.map.viewportId)?.element ?? null)?.parentElement ?? null;
			if (parent !== this.parent || !this.strip.isConnected) {
				this.detach();
				if (parent) {
					if (getComputedStyle(parent).position === "static") parent.style.position = "relative";
					parent.append(this.strip, this.marks);
					this.events.forEach((name) => parent.addEventListener(name, this.pointer, true));
				}
				this.parent = parent;
			}
			this.draw();
		}
		detach() {
			this.events.forEach((name) => this.parent?.removeEventListener(name, this.pointer, true));
			this.strip.remove();
			this.marks.remove();
		}
		draw() {
			if (!this.parent) return;
			this.drawStrip(this.parent.clientHeight - 80);
			this.drawPoints();
		}
		drawStrip(height) {
			const depth = this.map.session.slices.depth;
			this.strip.width = WIDTH;
			this.strip.height = Math.max(height, depth);
			this.strip.style.height = `${this.strip.height}px`;
			const context = this.strip.getContext("2d");
			if (!context) return;
			const step = this.strip.height / depth;
			const current = this.map.geometry.current();
			const known = this.uncertainty.filter((_, k) => !this.labelled.includes(k));
			const [low, high] = [Math.min(...known), Math.max(...known)];
			for (let k = 0; k < depth; k++) {
				const y = this.map.geometry.frameOf(k) * step;
				const doubt = this.uncertainty.length ? (this.uncertainty[k] - low) / Math.max(high - low, 1e-6) : null;
				const red = doubt === null ? 0 : Math.max(0, Math.min(1, doubt));
				const done = this.labelled.includes(k);
				context.fillStyle = doubt === null ? "#1d2b4d" : `rgb(${40 + 215 * red},${170 - 120 * red},60)`;
				if (done) context.fillStyle = "#ffffff";
				context.fillRect(0, y, WIDTH, Math.max(step - .5, 1));
				if (this.map.session.slices.isDirty(k)) {
					context.fillStyle = "#4da3ff";
					context.fillRect(0, y, 4, Math.max(step - .5, 1));
				}
				if (k === current) {
					context.strokeStyle = "#ffe14d";
					context.lineWidth = 2;
					context.strokeRect(1, y, 10, Math.max(step - .5, 3));
				}
			}
		}
		drawPoints() {
			this.marks.replaceChildren();
			const viewport = viewportOf(this.map.viewportId);
			if (!viewport || !this.map.session.points.length) return;
			const k = this.map.geometry.current();
			for (const point of this.map.session.points.filter((one) => one.k === k)) {
				const [x, y] = viewport.worldToCanvas(this.map.geometry.world(point.i, point.j, point.k));
				const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
				mark.setAttribute("cx", String(x));
				mark.setAttribute("cy", String(y));
				mark.setAttribute("r", "5");
				mark.setAttribute("fill", point.include ? "#3ddc5b" : "#ff4d4d");
				mark.setAttribute("stroke", "#fff");
				this.marks.append(mark);
			}
		}
		close() {
			window.clearInterval(this.timer);
			this.detach();
			this.parent = null;
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
	// src/tools.ts
	/** Which tool is in the person's hand: the panel's buttons and the viewer's own follow each other. */
	var VIEWER = {
		brush: "CircularBrush",
		eraser: "CircularEraser",
		threshold: "ThresholdCircularBrushDynamic"
	};
	var NONE = "WindowLevel";
	var POINTING = ["include", "exclude"];
	var Toolbox = class {
		/** brush, eraser, threshold, include, exclude, or '' for one of the viewer's own. */
		current = "";
		radius = 8;
		get pointing() {
			return POINTING.includes(this.current);
		}
		/** Take a tool, or put it away if it is in hand. */
		pick(tool, viewportId) {
			this.current = this.current === tool ? "" : tool;
			useTool(viewportId, VIEWER[this.current] ?? NONE);
			if (VIEWER[this.current]) brushSize(this.radius);
		}
		size(radius) {
			brushSize(this.radius = radius);
		}
		/** Look what the viewer has in hand: its own buttons and keys choose tools too. Whether that changed something. */
		follow(viewportId) {
			const inHand = primary(viewportId);
			if (inHand === null) return false;
			const here = Object.keys(VIEWER).find((tool) => VIEWER[tool] === inHand) ?? "";
			if (this.pointing ? inHand === NONE : here === this.current) return false;
			this.current = here;
			return true;
		}
	};
	function primary(viewportId) {
		try {
			const group = host.services.toolGroupService.getToolGroupForViewport(viewportId);
			return group ? group.getActivePrimaryMouseButtonTool() ?? "" : null;
		} catch {
			return null;
		}
	}
	// src/tracing.ts
	/** The history of the slice on the screen: who labelled it when, as what; a former label put back, the present one taken back. */
	var Tracing = class {
		panel;
		/** Of the slice on the screen, newest first; empty while the history is folded. */
		shots = [];
		seen = "";
		constructor(panel) {
			this.panel = panel;
		}
		/** Look the slice on the screen up, if the history is unfolded and something changed. */
		async look() {
			const map = this.panel.map;
			if (!map || !this.panel.view.tracing) return;
			const k = map.geometry.current();
			const now = `${map.series} ${k} ${map.session.slices.seen(k)} ${map.session.slices.undoSteps}`;
			if (now === this.seen) return;
			this.shots = await history(map.series, k);
			this.seen = now;
			this.panel.show();
		}
		/** Show a former label as if it had been drawn: submitting it makes it the label, undo takes it away. */
		async restore(shot$1) {
			await this.panel.work("Fetching", async (map) => {
				const { head, voxels } = await shot(map.series, shot$1.shot);
				map.commit();
				const here = map.session.structures.fromServer(voxels, head.structures);
				map.render(map.session.draw(/* @__PURE__ */ new Map([[head.slice, here]])));
				this.panel.say(`${capital(slicesOf([head.slice]))} as ${shot$1.annotator || "it"} had it. Submit makes it the label again.`, "");
			});
		}
		/** Take back what was said of the slice on the screen. */
		async unlabel(shot) {
			await this.panel.work("Taking back", async (map) => {
				const k = map.geometry.current();
				await unlabel(map.series, k, shot.shot);
				await this.panel.fetch();
				this.seen = "";
				this.panel.say(`${capital(slicesOf([k]))} has no label any more; the history keeps it, and Restore brings it back.`, "good");
			});
		}
	};
	// src/curve.ts
	var SVG = "http://www.w3.org/2000/svg";
	function mean(point) {
		const values = Object.values(point.dice).filter(Number.isFinite);
		return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
	}
	function drawCurve(svg, curve) {
		svg.setAttribute("viewBox", "0 0 240 110");
		svg.replaceChildren();
		const add = (name, attributes, text = "") => {
			const element = document.createElementNS(SVG, name);
			for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
			if (text) element.textContent = text;
			svg.append(element);
		};
		for (const dice of [
			0,
			.5,
			1
		]) {
			const y = 95 - 85 * dice;
			add("line", {
				x1: 24,
				x2: 235,
				y1: y,
				y2: y,
				stroke: "#2a3866"
			});
			add("text", {
				x: 3,
				y: y + 3,
				fill: "#8fa3d6",
				"font-size": 9
			}, dice.toFixed(1));
		}
		const points = curve.slice(-40).filter((point) => Object.keys(point.dice).length);
		const x = (n) => points.length < 2 ? 130 : 30 + 200 * n / (points.length - 1);
		const places = points.map((point, n) => [x(n), 95 - 85 * mean(point)]);
		add("polyline", {
			points: places.map((p) => p.join(",")).join(" "),
			fill: "none",
			stroke: "#5a78f0",
			"stroke-width": 1.5
		});
		places.forEach(([cx, cy], n) => {
			add("circle", {
				cx,
				cy,
				r: 3,
				fill: points[n].model_version ? "#3ddc5b" : "#ffb347"
			});
			if (points.length <= 8 || n === points.length - 1) add("text", {
				x: cx - 8,
				y: Math.max(cy - 6, 9),
				fill: "#e6ecff",
				"font-size": 9
			}, mean(points[n]).toFixed(2));
		});
		add("text", {
			x: 28,
			y: 107,
			fill: "#8fa3d6",
			"font-size": 9
		}, points.length ? "submission →   orange: untrained, green: trained" : "appears when you submit a correction");
	}
	// src/historyview.ts
	var HistoryView = class {
		root;
		acts;
		shown = "";
		constructor(root, acts) {
			this.root = root;
			this.acts = acts;
		}
		show(slice, shots) {
			const text = JSON.stringify([slice, shots]);
			if (text === this.shown) return;
			this.shown = text;
			this.root.querySelector("#fewsam-slice").textContent = String(slice);
			const list = this.root.querySelector("#fewsam-shots");
			if (!shots.length) list.textContent = "Nobody has labelled this slice.";
			else list.replaceChildren(...shots.map((shot) => this.row(shot)));
		}
		row(shot) {
			const row = document.createElement("div");
			row.className = "shot";
			const what = shot.withdrawn ? "label taken back" : shot.structures.join(", ") || "nothing is there";
			const text = document.createElement("span");
			text.textContent = `${new Date(shot.time).toLocaleString()}, ${shot.annotator || "somebody"}: ${what}`;
			text.title = shot.source;
			row.append(text);
			if (shot.current && !shot.withdrawn) row.append(this.button("unlabel", "Un-label", shot));
			if (!shot.current && !shot.withdrawn) row.append(this.button("restore", "Restore", shot));
			return row;
		}
		button(act, text, shot) {
			const button = document.createElement("button");
			button.className = `small ${act}`;
			button.textContent = text;
			button.addEventListener("click", () => this.acts.history(act, shot));
			return button;
		}
	};
	// src/structurelist.ts
	var StructureList = class {
		root;
		acts;
		editing = 0;
		shown = "";
		now = null;
		constructor(root, acts) {
			this.root = root;
			this.acts = acts;
		}
		show(structures, state, chosen) {
			this.now = {
				structures,
				state,
				chosen
			};
			const text = JSON.stringify([
				structures,
				state?.image?.counts,
				chosen,
				this.editing
			]);
			if (text === this.shown) return;
			this.shown = text;
			const typing = this.root.querySelector("input")?.value;
			this.root.replaceChildren(...structures.map((one) => this.row(one, state?.image?.counts[one.name] ?? 0, one.value === chosen)));
			const input = this.root.querySelector("input");
			if (input && typing) input.value = typing;
		}
		row(one, here, chosen) {
			const row = document.createElement("div");
			row.className = `class ${chosen ? "on" : ""}`;
			row.dataset.name = one.name;
			const swatch = document.createElement("span");
			swatch.className = "swatch";
			swatch.style.background = `rgb(${one.color.join(",")})`;
			row.append(swatch);
			row.addEventListener("mousedown", () => this.acts.choose(one.value));
			if (!one.id || this.editing === one.value) {
				row.append(this.input(one));
				return row;
			}
			const name = document.createElement("span");
			name.className = "name";
			name.textContent = name.title = one.name;
			const count = document.createElement("span");
			count.className = "count";
			count.textContent = `${here} / ${one.slices}`;
			row.append(name, this.button("rename", "✎", `Rename ${one.name}`, () => this.edit(one.value)));
			row.append(this.button("delete", "×", `Delete ${one.name}; its labels stay in the history`, () => this.acts.remove(one)), count);
			return row;
		}
		input(one) {
			const input = document.createElement("input");
			input.type = "text";
			input.placeholder = one.id ? one.name : `name ${one.name}`;
			input.value = one.id ? one.name : "";
			input.addEventListener("mousedown", (event) => event.stopPropagation());
			input.addEventListener("keydown", (event) => {
				event.stopPropagation();
				if (event.key === "Escape") this.edit(0);
				if (event.key !== "Enter" || !input.value.trim()) return;
				this.acts.rename(one, input.value.trim());
				this.edit(0);
			});
			if (one.id) window.setTimeout(() => input.select());
			return input;
		}
		button(kind, text, title, act) {
			const button = document.createElement("button");
			button.className = `small ${kind}`;
			button.textContent = text;
			button.title = title;
			button.setAttribute("aria-label", title);
			button.addEventListener("mousedown", (event) => event.stopPropagation());
			button.addEventListener("click", act);
			return button;
		}
		edit(value) {
			this.editing = value;
			if (this.now) this.show(this.now.structures, this.now.state, this.now.chosen);
		}
	};
	// src/style.ts
	var style = `
#fewsam-panel { color:#e6ecff; font:13px/1.4 system-ui,sans-serif; padding:8px; height:100%; overflow-y:auto; box-sizing:border-box }
#fewsam-panel h4 { margin:10px 0 4px; font-size:11px; letter-spacing:.06em; text-transform:uppercase; color:#8fa3d6 }
#fewsam-panel button { background:#22346b; color:#e6ecff; border:1px solid #3a54a3; border-radius:4px; padding:5px 8px; cursor:pointer; font:inherit }
#fewsam-panel button:hover:not(:disabled) { background:#31499a }
#fewsam-panel button:disabled { opacity:.45; cursor:default }
#fewsam-panel button.on { background:#5a78f0; border-color:#a9bbff }
#fewsam-panel button.main { background:#2c8a4b; border-color:#4fc07a }
#fewsam-panel .fs-row { display:flex; gap:5px; flex-wrap:wrap; margin:4px 0 }
#fewsam-panel .fs-row > button { flex:1 1 auto }
#fewsam-panel .class { display:flex; align-items:center; gap:7px; padding:3px 5px; border-radius:4px; cursor:pointer }
#fewsam-panel .class:hover { background:#16224a }
#fewsam-panel .class.on { background:#27397a; outline:1px solid #5a78f0 }
#fewsam-panel .swatch { width:13px; height:13px; border-radius:3px; flex:none }
#fewsam-panel .count { margin-left:auto; color:#8fa3d6; font-variant-numeric:tabular-nums }
#fewsam-panel { scrollbar-color:#3a54a3 #0d1430; scrollbar-width:thin }
#fewsam-panel .small { padding:0 5px; font-size:12px; flex:none }
#fewsam-panel .class .small { visibility:hidden }
#fewsam-panel .class:hover .small, #fewsam-panel .class .small:focus { visibility:visible }
#fewsam-panel .class .name { flex:1 1 auto; min-width:0; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
#fewsam-classes { max-height:192px; overflow-y:auto }
#fewsam-panel #fewsam-message { height:7.6em; box-sizing:border-box; overflow-y:auto; margin-top:0 }
#fewsam-panel .message { margin:6px 0; padding:6px 8px; border-radius:4px; background:#16224a; white-space:pre-wrap; overflow-wrap:anywhere }
#fewsam-panel .message.asks { background:#5a4a1f; color:#fff2d0 }
#fewsam-panel .shot { display:flex; gap:6px; align-items:start; padding:2px 0; font-size:12px }
#fewsam-panel .shot span { flex:1 }
#fewsam-panel summary { cursor:pointer; margin:8px 0 2px; font-size:12px; color:#8fa3d6 }
#fewsam-panel .message.bad { background:#5a1f2a; color:#ffd9d9 }
#fewsam-panel .message.good { background:#1c4a2c; color:#d9ffe4 }
#fewsam-problems:empty { display:none }
#fewsam-panel progress { width:100%; height:10px }
#fewsam-panel input[type=text] { flex:1; min-width:60px; background:#0d1430; color:#e6ecff; border:1px solid #3a54a3; border-radius:4px; padding:4px 6px }
#fewsam-panel input[type=range] { flex:1; appearance:auto; accent-color:#5a78f0; background:transparent; border:0; height:18px }
#fewsam-panel svg.curve { width:100%; height:110px; background:#0d1430; border-radius:4px }
#fewsam-panel .faint { color:#8fa3d6; font-size:12px }
`;
	// src/view.ts
	var BUTTONS = [
		"submit",
		"theirs",
		"segment",
		"train",
		"next",
		"skip",
		"back",
		"undo",
		"redo",
		"clear",
		"add"
	];
	var TOOLS = [
		"brush",
		"eraser",
		"threshold",
		"include",
		"exclude"
	];
	var View = class {
		root = document.createElement("div");
		structures;
		history;
		constructor(acts) {
			this.root.id = "fewsam-panel";
			this.root.innerHTML = `<style>${style}</style>
      <div class="message" id="fewsam-message" role="status"><div id="fewsam-text"></div><div class="fs-row" id="fewsam-answers"></div></div>
      <div class="faint" id="fewsam-hint"></div>
      <h4>Structures <span class="faint">labelled slices: here / all</span></h4>
      <div id="fewsam-classes"></div>
      <div class="fs-row" id="fewsam-new"><input type="text" placeholder="new structure" id="fewsam-name"><button id="fewsam-add">Add</button></div>
      <h4>Draw</h4>
      <div class="fs-row">
        <button data-tool="brush" id="fewsam-brush">Brush</button><button data-tool="eraser" id="fewsam-eraser">Eraser</button>
        <button data-tool="threshold" id="fewsam-threshold" title="Paints what looks like the tissue under the cursor">Threshold</button>
      </div>
      <div class="fs-row">
        <button id="fewsam-undo" title="Ctrl+Z">Undo</button><button id="fewsam-redo" title="Ctrl+Shift+Z or Ctrl+Y">Redo</button>
        <span class="faint">size</span><input type="range" id="fewsam-size" aria-label="brush size" min="1" max="60" step="1" value="8">
      </div>
      <h4>Correct with points</h4>
      <div class="fs-row">
        <button data-tool="include" id="fewsam-include">+ Include</button><button data-tool="exclude" id="fewsam-exclude">− Exclude</button>
        <button id="fewsam-clear">Clear points</button>
      </div>
      <h4>Learn</h4>
      <div class="fs-row"><button id="fewsam-submit">Submit</button><button id="fewsam-segment">Segment</button><button id="fewsam-train">Train</button></div>
      <div class="fs-row"><button id="fewsam-theirs" title="Show what was submitted from elsewhere; Undo brings yours back">Take theirs</button></div>
      <div class="fs-row">
        <button id="fewsam-next">Next slice</button><button id="fewsam-skip" title="Another one; this slice is not offered again">Skip</button>
        <button id="fewsam-back" title="To where you were before Next slice">Back</button>
      </div>
      <progress id="fewsam-progress" max="1" value="0" hidden></progress>
      <div class="faint" id="fewsam-status"></div>
      <details id="fewsam-history"><summary>History of slice <span id="fewsam-slice"></span></summary><div id="fewsam-shots"></div></details>
      <h4>Served against submitted (Dice)</h4>
      <svg class="curve" id="fewsam-curve"></svg>
      <div class="message bad" id="fewsam-problems"></div>`;
			BUTTONS.forEach((button) => this.find(`fewsam-${button}`).addEventListener("click", () => acts.press(button)));
			this.root.querySelectorAll("[data-tool]").forEach((button) => {
				button.addEventListener("click", () => acts.pick(button.dataset.tool ?? ""));
			});
			this.find("fewsam-size").addEventListener("input", (event) => acts.size(Number(event.target.value)));
			this.find("fewsam-name").addEventListener("keydown", (event) => {
				event.stopPropagation();
				if (event.key === "Enter") acts.press("add");
			});
			this.structures = new StructureList(this.find("fewsam-classes"), acts);
			this.history = new HistoryView(this.find("fewsam-history"), acts);
		}
		/** Whether the history of a slice is unfolded. */
		get tracing() {
			return this.find("fewsam-history").open;
		}
		onTrace(act) {
			this.find("fewsam-history").addEventListener("toggle", act);
		}
		/** Say something; ``answers`` make it a question, with a button each. */
		say(text, kind, answers = []) {
			const message = this.find("fewsam-message");
			this.find("fewsam-text").textContent = text;
			message.className = `message ${answers.length ? "asks" : kind}`;
			message.scrollTop = 0;
			this.find("fewsam-answers").replaceChildren(...answers.map(({ label, act }) => {
				const button = document.createElement("button");
				button.textContent = label;
				button.addEventListener("click", act);
				return button;
			}));
		}
		/** The typed name of a new structure. */
		get typed() {
			return this.find("fewsam-name").value.trim();
		}
		set typed(text) {
			this.find("fewsam-name").value = text;
		}
		show(now) {
			const training = Boolean(now.state?.training.running);
			this.structures.show(now.structures, now.state, now.chosen);
			this.history.show(now.slice, now.history);
			this.find("fewsam-new").style.display = now.state?.new_labels ? "" : "none";
			this.root.querySelectorAll("[data-tool]").forEach((button) => {
				button.classList.toggle("on", button.dataset.tool === now.tool);
			});
			this.find("fewsam-train").textContent = training ? "Stop training" : "Train";
			const drawn = now.dirty ? ` (${count(now.dirty, "slice")})` : "";
			this.find("fewsam-submit").textContent = now.conflict ? `Submit mine${drawn}` : `Submit${drawn}`;
			this.find("fewsam-theirs").style.display = now.conflict ? "" : "none";
			this.enable(now, training);
			this.showProgress(training, now);
			if (now.state) drawCurve(this.root.querySelector("#fewsam-curve"), now.state.curve);
			this.find("fewsam-problems").textContent = now.problems.join("\n");
		}
		/** One button stands out: what to do next. One that cannot be used says why. */
		enable(now, training) {
			const labelled = Object.values(now.state?.structures ?? {}).some((one) => one.slices > 0) ? 1 : 0;
			const { highlight, hint, blocked } = guide({
				...now,
				structures: now.structures.length,
				labelled,
				training
			});
			if (!now.undoSteps) blocked.undo = "Nothing to undo.";
			if (!now.redoSteps) blocked.redo = "Nothing to redo.";
			if (!now.back) blocked.back ??= "Next slice has led nowhere yet.";
			if (now.aside) for (const tool of TOOLS) blocked[tool] = "A stored segmentation is shown: go back to drawing first.";
			for (const button of [...BUTTONS, ...TOOLS]) {
				const element = this.find(`fewsam-${button}`);
				element.dataset.title ??= element.title;
				element.disabled = button in blocked;
				element.title = blocked[button] ?? element.dataset.title;
				element.classList.toggle("main", button === highlight);
			}
			this.find("fewsam-hint").textContent = hint ? `Next: ${hint}` : "";
		}
		showProgress(training, { state, busy }) {
			const bar = this.find("fewsam-progress");
			const stats = state?.training;
			bar.hidden = !training && !busy;
			if (training && stats?.total_epochs) bar.value = (stats.epoch ?? 0) / stats.total_epochs;
			else bar.removeAttribute("value");
			this.find("fewsam-status").textContent = progress(state, busy);
		}
		find(id) {
			return this.root.querySelector(`#${id}`);
		}
	};
	// src/panel.ts
	/** The panel: the whole loop in one place. State lives here, not in the DOM: OHIF may take the panel down and up. */
	var FOLLOW = 400;
	var Panel = class {
		id;
		view;
		map = null;
		state = null;
		structures = new Structures();
		overlay = null;
		opening = "";
		chosen = 1;
		toolbox = new Toolbox();
		journey = new Journey(this);
		tracing = new Tracing(this);
		conflict = [];
		busy = "";
		queue = Promise.resolve();
		answered = false;
		recovering = false;
		aside = false;
		lost = false;
		wasTraining = false;
		trainedFrom = 0;
		timer = 0;
		ticker = 0;
		waited = 0;
		constructor(id) {
			this.id = id;
			const acts = {
				submit: () => void this.submit(),
				theirs: () => void this.theirs(),
				segment: () => void this.segment(),
				train: () => void this.train(),
				next: () => void this.journey.next(),
				skip: () => void this.journey.skip(),
				back: () => this.journey.back(),
				undo: () => this.step("undo"),
				redo: () => this.step("redo"),
				clear: () => this.clearPoints(),
				add: () => void this.addStructure(this.view.typed)
			};
			this.view = new View({
				press: (button) => acts[button](),
				pick: (tool) => this.pick(tool),
				choose: (value) => this.choose(value),
				size: (radius) => this.toolbox.size(radius),
				rename: (structure, name) => void this.rename(structure, name),
				remove: (structure) => this.askToDelete(structure),
				history: (act, shot) => void this.tracing[act](shot)
			});
			this.view.onTrace(() => void this.tracing.look());
			window.addEventListener("keydown", this.keys, true);
			window.addEventListener("pagehide", this.closing);
			this.ticker = window.setInterval(() => this.tick(), FOLLOW);
			this.show();
			this.poll();
		}
		get root() {
			return this.view.root;
		}
		/** The mode was left: nothing of ours stays over the viewport. */
		close() {
			window.clearTimeout(this.timer);
			window.clearInterval(this.ticker);
			window.removeEventListener("keydown", this.keys, true);
			window.removeEventListener("pagehide", this.closing);
			this.leave();
		}
		closing = () => {
			this.map?.commit();
			this.map?.session.keep(true);
		};
		async poll() {
			window.clearTimeout(this.timer);
			try {
				await this.follow();
				await this.refresh();
				this.map?.session.keep();
				if (this.lost) this.say("The server is back.", "good");
				this.lost = false;
			} catch (error) {
				this.lost = true;
				this.say(error.message, "bad");
			}
			this.timer = window.setTimeout(() => this.poll(), this.state?.training.running ? 800 : 2500);
		}
		/** Open the labelmap of whatever series the person looks at. */
		async follow() {
			const now = active();
			const series = now?.displaySet.SeriesInstanceUID ?? "";
			if (!now && !this.map && ++this.waited === 4 && !this.journey.stranded()) this.say(`No image series is open. Double-click one in the list. The viewer marks what it cannot show with a triangle in the list on the left.`, "");
			if (!now || this.opening === series + now.viewportId) return;
			if (this.map?.series === series && this.map.viewportId === now.viewportId) return;
			this.opening = series + now.viewportId;
			try {
				this.leave();
				this.state = await getState(series);
				this.structures.update(this.state.structures);
				const map = await Labelmap.open(now.viewportId, now.displaySet, this.structures);
				const known = await getLabelmap(series);
				const drafts = map.session.open(known.voxels, known.head);
				map.render(Array.from({ length: map.session.slices.depth }, (_, k) => k));
				map.onStroke = () => this.show();
				this.map = map;
				this.overlay = new Overlay(map);
				this.answered = known.head.served;
				numbering.of = (k) => map.geometry.frameOf(k) + 1;
				showPanel(this.id);
				this.choose(this.structures.of(this.chosen) ? this.chosen : this.structures.all[0]?.value ?? 1);
				this.say(greeting(known.head, drafts.length, this.state), "");
				this.journey.arrive();
			} finally {
				this.opening = "";
			}
		}
		leave() {
			if (this.map) {
				this.map.commit();
				this.map.session.keep(true);
				this.map.close();
			}
			this.overlay?.close();
			this.map = this.overlay = null;
			this.aside = false;
			this.conflict = [];
		}
		async refresh() {
			this.state = await getState(this.map?.series);
			const before = this.structures.all.length;
			if (this.structures.update(this.state.structures)) {
				this.map?.segments();
				if (this.structures.all.length < before) await this.fetch();
			}
			const { training, model_version } = this.state;
			if (this.wasTraining && !training.running) {
				const notes = (training.notes ?? []).map((note) => `\n${note}`).join("");
				if (training.state === "failed") this.say(`Training failed: ${training.error}`, "bad");
				else if (model_version > this.trainedFrom) this.say(`Model ${model_version} is live. Segment again to use it.${notes}`, "good");
				else this.say(`The trained model was not better than what is served; ${this.served()} stays.${notes}`, "");
				this.answered = false;
			}
			this.wasTraining = Boolean(training.running);
			await this.catchUp();
			await this.tracing.look();
			this.show();
		}
		/** Show what was submitted from elsewhere, but on slices that are drawn on here. */
		async catchUp() {
			const [map, image] = [this.map, this.state?.image];
			if (!map || image?.id !== map.series || map.drawing) return;
			map.commit();
			const stale = map.session.slices.stale(image.submissions);
			if (!stale.length || !await this.fetch()) return;
			if (!this.busy) this.say(`${capital(slicesOf(stale))}: submitted from elsewhere, and shown here now.`, "");
		}
		/** Take what the server has of the open series; false where another one was opened meanwhile. */
		async fetch() {
			const map = this.map;
			if (!map) return false;
			const { head, voxels } = await getLabelmap(map.series);
			return this.take(map, voxels, head);
		}
		async take(map, voxels, head) {
			await map.released();
			if (this.map !== map) return false;
			map.commit();
			map.render(map.session.receive(voxels, head));
			return true;
		}
		/** Follow what the person does with the viewer's own buttons, and mend what that took away. */
		tick() {
			const map = this.map;
			if (!map || this.recovering || this.opening) return;
			if (this.aside !== (storedSegmentation() !== null)) this.turnAside(map);
			if (this.aside) return;
			if (!map.intact) return void this.recover(map);
			if (!map.isActive) {
				map.activate();
				this.say("Another segmentation was opened. What you draw goes on in the structures listed here.", "");
			}
			const strangers = map.strangers();
			for (const { value, label } of strangers) this.structures.addUnnamed(label, value);
			if (strangers.length) this.say(`${strangers[0].label} has no name yet. Name it in the list below; then it can be submitted.`, "bad");
			const [chosen, tool] = [map.chosen, this.toolbox.current];
			if (chosen !== null && chosen !== this.chosen && this.structures.of(chosen)) this.chosen = chosen;
			this.toolbox.follow(map.viewportId);
			if (strangers.length || tool !== this.toolbox.current || chosen !== this.chosen) this.show();
		}
		/** The viewer shows a stored segmentation instead of the images, or the images again. */
		turnAside(map) {
			this.aside = !this.aside;
			if (this.aside) {
				const { viewportId } = storedSegmentation();
				this.toolbox.current = "";
				this.view.say("This is a segmentation as it is stored; nothing can be drawn on it here. Yours is kept.", "asks", [{
					label: "Back to drawing",
					act: () => showSeries(viewportId, map.displaySetId)
				}]);
			} else this.say("Drawing goes on in the structures listed here.", "");
			this.show();
		}
		async recover(map) {
			if (active()?.displaySet.SeriesInstanceUID !== map.series) return;
			this.recovering = true;
			try {
				await map.recover();
				this.choose(this.chosen);
				this.say("The viewer took the labelmap away; it is back, with what you drew.", "bad");
			} catch (error) {
				this.say(`The viewer took the labelmap away: reload the page; what you drew is kept. (${error.message})`, "bad");
			} finally {
				this.recovering = false;
			}
		}
		async submit(empty = []) {
			await this.work("Submitting", async (map) => {
				map.commit();
				const submission = map.session.submission();
				if (!submission) return this.say("Nothing to submit: no slice was changed by hand.", "bad");
				let answer;
				try {
					answer = await submit(map.series, submission, {
						replace: this.conflict,
						empty
					});
				} catch (error) {
					if (!(error instanceof Refusal) || error.status !== 409) throw error;
					return this.asked(error.body);
				}
				this.conflict = [];
				this.answered = false;
				map.commit();
				map.session.submitted(submission, answer.submissions, [...answer.kept, ...answer.untouched]);
				this.say(receipt(answer), answer.kept.length ? "" : "good");
			});
		}
		/** The server asks before it takes a submission. */
		asked(body) {
			if (body.empty?.length) {
				const empty = body.empty;
				return this.view.say(emptied(empty), "asks", [{
					label: "Nothing is there",
					act: () => void this.submit(empty)
				}, {
					label: "Put the labels back",
					act: () => this.putBack(empty)
				}]);
			}
			this.conflict = body.slices ?? [];
			this.say(conflict(this.conflict, body.who ?? ""), "bad");
		}
		putBack(slices) {
			this.map?.render(this.map.session.discard(slices));
			this.say(`${capital(slicesOf(slices))}: as submitted. Undo brings your change back.`, "");
			this.show();
		}
		/** Give way to what somebody else submitted of the slices in question; undo brings ours back. */
		async theirs() {
			await this.work("Fetching", async (map) => {
				const slices = this.conflict;
				if (!await this.fetch()) return;
				map.render(map.session.discard(slices));
				this.conflict = [];
				this.say(`${capital(slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, "");
			});
		}
		async segment() {
			await this.work("Segmenting", async (map) => {
				map.commit();
				const { head, voxels } = await segment(map.series);
				if (!head.shots) return this.say((head.notes ?? ["There is no label to learn from yet."]).join("\n"), "bad");
				await this.take(map, voxels, head);
				map.session.points = [];
				this.answered = true;
				const dirty = map.session.slices.dirty.length;
				const kept = dirty ? ` ${count(dirty, "slice")} drawn and not submitted: left as drawn.` : "";
				const model = head.trained ? `Model ${head.model_version}` : "Untrained answer";
				const notes = (head.notes ?? []).join("\n");
				this.say(`${model}, from ${count(head.shots, "labelled slice")}.${kept}\n${notes}`.trim(), head.trained ? "good" : "");
			});
		}
		async train() {
			if (this.state?.training.running) {
				await this.work("Stopping", () => stopTraining());
				return;
			}
			await this.work("Starting", async () => {
				this.trainedFrom = this.state?.model_version ?? 0;
				await train();
				this.wasTraining = true;
				this.say("Training started.", "");
			});
		}
		/** A click is answered in its turn, also one that was made while another is computed. */
		point(i, j, k) {
			const structure = this.structures.of(this.chosen);
			const include = this.toolbox.current === "include";
			if (!structure) return this.say("Choose a structure first.", "bad");
			const { value, name } = structure;
			this.queue = this.queue.then(() => this.work("Correcting", async (map) => {
				map.commit();
				const session = map.session;
				const all = [...session.points.filter((one) => one.i !== i || one.j !== j || one.k !== k || one.value !== value), {
					i,
					j,
					k,
					include,
					value
				}];
				const points = all.filter((one) => one.k === k && one.value === value);
				const side = (wanted) => points.filter((one) => one.include === wanted).map((one) => [one.i, one.j]);
				const { voxels } = await correct({
					image: map.series,
					slice: k,
					label: name,
					include: side(true),
					exclude: side(false)
				});
				await map.released();
				map.commit();
				const width = map.geometry.planes[k].columns;
				map.render(session.correct(k, corrected(session.slices.shown(k), voxels, value, points, width), all));
				this.say(`${name}: ${count(points.length, "point")} on ${slicesOf([k])}. Submit when it is right.`, "");
			}));
		}
		clearPoints() {
			if (this.map) this.map.session.points = [];
			this.show();
		}
		step(way) {
			if (!this.map) return;
			this.map.commit();
			const changed = this.map.session[way]();
			if (!changed) return this.say(`Nothing to ${way}.`, "");
			this.map.render(changed);
			this.show();
		}
		async addStructure(name) {
			if (!name) return this.say("Type the name of the structure first.", "bad");
			const there = this.structures.named(name);
			if (there?.id) return this.choose(there.value);
			if (await this.restructure(() => addStructure(name))) {
				this.view.typed = "";
				this.choose(this.structures.named(name)?.value ?? this.chosen);
			}
		}
		/** A new name for a structure of the server, or the first one of a segment that only this window has. */
		async rename(structure, name) {
			if (structure.id) await this.restructure(() => renameStructure(structure.id, name));
			else if (this.structures.named(name)?.id) this.say(`There is a ${name} already; choose another name.`, "bad");
			else if (await this.restructure(() => addStructure(name), () => void (structure.name = name))) this.say(`${name} is a structure now.`, "good");
		}
		askToDelete(structure) {
			const { id, name, slices } = structure;
			if (!id) return;
			const kept = slices ? ` Its labels on ${count(slices, "slice")} stay in the history, and come back when a ${name} is added again.` : "";
			const act = () => void this.restructure(() => deleteStructure(id)).then((done) => done && this.say(`${name} is deleted.`, ""));
			this.view.say(`Delete ${name} for everybody?${kept}`, "asks", [{
				label: "Delete",
				act
			}, {
				label: "Keep",
				act: () => this.say(`${name} stays.`, "")
			}]);
		}
		async restructure(change, first = () => {}) {
			let done = false;
			await this.work("Changing structures", async (map) => {
				map.commit();
				const answer = await change();
				first();
				this.structures.update(answer);
				map.segments();
				await this.fetch();
				map.session.keep();
				done = true;
			});
			return done;
		}
		choose(value) {
			this.chosen = value;
			this.map?.choose(value);
			this.show();
		}
		pick(tool) {
			if (!this.map) return;
			if (!this.structures.all.length) return this.say("Name a structure first: type it above, and Add.", "bad");
			this.map.choose(this.chosen);
			this.toolbox.pick(tool, this.map.viewportId);
			this.show();
		}
		keys = (event) => {
			if (!(event.ctrlKey || event.metaKey) || event.target instanceof HTMLInputElement && event.target.type === "text") return;
			const key = event.key.toLowerCase();
			if (key !== "z" && key !== "y") return;
			event.preventDefault();
			event.stopImmediatePropagation();
			this.step(key === "y" || event.shiftKey ? "redo" : "undo");
		};
		async work(what, todo) {
			while (this.busy && what === "Correcting") await new Promise((done) => window.setTimeout(done, 50));
			if (this.busy) return;
			if (!this.map) return this.say("Open a CT, MR or other image series first.", "bad");
			this.busy = what;
			this.show();
			try {
				await this.map.released();
				await todo(this.map);
				await this.refresh();
			} catch (error) {
				this.say(error.message, "bad");
			} finally {
				this.busy = "";
				this.show();
			}
		}
		say(text, kind) {
			this.view.say(text, kind);
		}
		served() {
			return this.state?.trained ? `model ${this.state.model_version}` : "the untrained answer";
		}
		show() {
			const { state, map, chosen, busy, overlay } = this;
			const session = map?.session;
			const slices = session?.slices;
			const foreign = slices?.outdated(state?.image?.submissions ?? {}).filter((k) => slices.isDirty(k)) ?? [];
			this.view.show({
				state,
				chosen,
				busy,
				tool: this.toolbox.current,
				structures: this.structures.all,
				open: Boolean(map),
				aside: this.aside,
				undoSteps: slices?.undoSteps ?? 0,
				redoSteps: slices?.redoSteps ?? 0,
				dirty: slices?.dirty.length ?? 0,
				conflict: this.conflict.length,
				answered: this.answered,
				back: this.journey.canGoBack,
				slice: map ? numbering.of(map.geometry.current()) : 0,
				history: this.tracing.shots,
				problems: problems(state, foreign, session?.kept === false)
			});
			if (!overlay || !session) return;
			overlay.uncertainty = state?.image?.uncertainty ?? [];
			overlay.labelled = state?.image?.labelled ?? [];
			overlay.onPoint = this.toolbox.pointing ? (i, j, k) => this.point(i, j, k) : null;
			overlay.draw();
		}
	};
	// src/main.ts
	/** Our extension and mode, given to the viewer as objects through its configuration script. */
	var EXTENSION = "fewsam";
	var PANEL = `${EXTENSION}.panelModule.fewsam`;
	var panel = null;
	var mount = (node) => {
		if (!node) return;
		node.style.height = "100%";
		panel ??= new Panel(PANEL);
		node.replaceChildren(panel.root);
	};
	var element = {
		$$typeof: Symbol.for("react.element"),
		type: "div",
		key: null,
		ref: mount,
		props: {},
		_owner: null,
		_store: {}
	};
	var extension = {
		id: EXTENSION,
		preRegistration({ servicesManager, commandsManager, extensionManager }) {
			host.services = servicesManager.services;
			host.commands = commandsManager;
			host.extensions = extensionManager;
		},
		onModeEnter: mendExport,
		onModeExit() {
			panel?.close();
			panel = null;
		},
		getPanelModule: () => [{
			name: "fewsam",
			iconName: "tab-segmentation",
			iconLabel: "Few-shot",
			label: "Few-shot",
			component: () => element
		}]
	};
	var mode = {
		id: "fewsam",
		modeFactory: async ({ modeConfiguration, loadModules }) => {
			const [stock] = await loadModules(["@ohif/mode-segmentation"]);
			const made = stock.modeFactory({ modeConfiguration });
			return {
				...made,
				id: "fewsam",
				routeName: "fewsam",
				displayName: "Few-shot segmentation",
				isValidMode: ({ modalities }) => ({
					valid: ![
						"SM",
						"ECG",
						"SEG",
						"RTSTRUCT"
					].includes(modalities),
					description: "Label a few slices of an image series"
				}),
				routes: made.routes.map((route) => ({
					...route,
					layoutTemplate: (given) => {
						const layout = route.layoutTemplate(given);
						return {
							...layout,
							props: {
								...layout.props,
								rightPanels: [PANEL, ...layout.props.rightPanels]
							}
						};
					}
				}))
			};
		}
	};
	document.cookie = `MONAILABEL_SERVER_URL=${escape(`${base}/`)}; path=/`;
	var config = window.config;
	config.extensions = [...config.extensions ?? [], extension];
	config.modes = [...config.modes ?? [], mode];
})();
