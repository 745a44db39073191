/* fewsam panel, built from sources d4224eb35010612ba664e9268ac87ab0b23638797a510cdf13b54704e4ef554f */
(function() {
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
	var next = async () => (await ask("/fewsam/next", json({ client_id: client }))).json();
	var train = async () => void await ask("/train/segmentation", json({}));
	var stopTraining = async () => void await ask("/train/", { method: "DELETE" });
	async function submit({ image, voxels, classes, drawn, replace }) {
		const form = new FormData();
		const names = classes.map(({ name, value }) => ({
			name,
			idx: value
		}));
		form.append("params", JSON.stringify({
			label_info: names,
			client_id: client,
			drawn,
			replace
		}));
		form.append("label", new Blob([voxels]), "label.bin");
		return (await ask(`/fewsam/label?image=${encodeURIComponent(image)}`, {
			method: "PUT",
			body: form
		})).json();
	}
	// src/drafts.ts
	var SILENT = 15e4;
	var page = Math.random().toString(36).slice(2, 10);
	var prefix = (series) => `fewsam.draft|${series}|`;
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
	/** Keep what is drawn; false where the browser's store is full, and submitting is the way to keep it. */
	function keep(map, closing = false) {
		const key = prefix(map.series) + page;
		const draft = {
			alive: closing ? 0 : Date.now(),
			slices: {}
		};
		for (const k of map.dirty) draft.slices[k] = {
			seen: map.seen[k],
			runs: pack(map.slice(k))
		};
		try {
			if (map.dirty.size) localStorage.setItem(key, JSON.stringify(draft));
			else localStorage.removeItem(key);
		} catch {
			return false;
		}
		return true;
	}
	/** Put back the drafts of pages that are gone, but for slices that are drawn on here; how many slices that were. */
	function restore(map) {
		const slices = /* @__PURE__ */ new Map();
		const seen = {};
		const gone = [];
		for (let n = 0; n < localStorage.length; n++) {
			const key = localStorage.key(n) ?? "";
			if (!key.startsWith(prefix(map.series))) continue;
			const draft = JSON.parse(localStorage.getItem(key) ?? "{}");
			if (key !== prefix(map.series) + page && Date.now() - draft.alive < SILENT) continue;
			const entries = Object.entries(draft.slices ?? {}).map(([k, one]) => ({
				k: Number(k),
				...one
			}));
			if (entries.some((one) => map.dirty.has(one.k) || slices.has(one.k))) continue;
			for (const { k, runs, seen: submission } of entries) {
				const values = k < map.depth ? unpack(runs, map.sliceSize) : null;
				if (!values) continue;
				slices.set(k, values);
				seen[k] = submission;
			}
			gone.push(key);
		}
		map.saw(seen, [...slices.keys()]);
		map.write(slices, true);
		if (slices.size && keep(map)) gone.filter((key) => key !== prefix(map.series) + page).forEach((key) => localStorage.removeItem(key));
		return slices.size;
	}
	// src/labelmap.ts
	var UNDO_STEPS = 50;
	var Labelmap = class Labelmap {
		series;
		viewportId;
		segmentationId;
		planes = [];
		/** Slices changed here since the server last had them. */
		dirty = /* @__PURE__ */ new Set();
		/** By slice: the submission that its label here came from, 0 for none. */
		seen = [];
		onStroke = () => {};
		arrays = [];
		frames = [];
		shadow = [];
		undoStack = [];
		timer = 0;
		pressed = false;
		ended = false;
		unsubscribe = [];
		constructor(series, viewportId, displaySetUid) {
			this.series = series;
			this.viewportId = viewportId;
			this.segmentationId = `fewsam-${displaySetUid}`;
		}
		static async open(viewportId, displaySet, classes) {
			const map = new Labelmap(displaySet.SeriesInstanceUID, viewportId, displaySet.displaySetInstanceUID);
			const service = host.services.segmentationService;
			if (!service.getSegmentation?.(map.segmentationId)) {
				const segments = {};
				for (const { name, value } of classes) segments[value] = {
					segmentIndex: value,
					label: name,
					active: value === 1,
					locked: false
				};
				if (!classes.length) segments[1] = {
					segmentIndex: 1,
					label: "Segment 1",
					active: true
				};
				const options = {
					segmentationId: map.segmentationId,
					label: "fewsam",
					segments
				};
				await service.createLabelmapForDisplaySet(displaySet, options);
			}
			await map.show();
			map.findVoxels();
			map.colour(classes);
			map.listen();
			return map;
		}
		/** Show it in the viewport, also again after the viewport changed. */
		async show() {
			const service = host.services.segmentationService;
			const type = tools().Enums.SegmentationRepresentations.Labelmap;
			await service.addSegmentationRepresentation(this.viewportId, {
				segmentationId: this.segmentationId,
				type
			});
			service.setActiveSegmentation?.(this.viewportId, this.segmentationId);
		}
		colour(classes) {
			const service = host.services.segmentationService;
			const segmentation = tools().segmentation.state.getSegmentation(this.segmentationId);
			for (const { name, value, color } of classes) try {
				if (!segmentation.segments[value]) service.addSegment(this.segmentationId, {
					segmentIndex: value,
					label: name,
					color: [...color, 255]
				});
				if (segmentation.segments[value].label !== name) service.setSegmentLabel(this.segmentationId, value, name);
				service.setSegmentColor(this.viewportId, this.segmentationId, value, [...color, 255]);
			} catch {}
		}
		choose(value) {
			host.services.segmentationService.setActiveSegment(this.segmentationId, value);
		}
		get depth() {
			return this.arrays.length;
		}
		get sliceSize() {
			return this.arrays[0]?.length ?? 0;
		}
		slice(k) {
			return this.arrays[k];
		}
		/** Slice k of a whole volume. */
		part(voxels, k) {
			return voxels.subarray(k * this.sliceSize, (k + 1) * this.sliceSize);
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
		/** Place of slice k along the viewer's slider, 0 at its top. */
		frameOf(k) {
			return this.frames[k];
		}
		jump(k) {
			const viewport = viewportOf(this.viewportId);
			if (!viewport) return;
			const shown = active()?.viewportId === this.viewportId ? viewport.getImageIds?.() : null;
			const wanted = this.planes[k].position;
			let imageIndex = this.frames[k];
			if (shown?.length === this.depth) {
				const found = shown.findIndex((id) => {
					const { position, normal } = planeOf(id);
					return Math.abs(dot(position.map((v, axis) => v - wanted[axis]), normal)) < .001;
				});
				if (found >= 0) imageIndex = found;
			}
			cornerstone().utilities.jumpToSlice(viewport.element, { imageIndex });
		}
		/** Voxels of all slices, i fastest, k in ITK's order. */
		all() {
			const voxels = new Uint8Array(this.depth * this.sliceSize);
			this.arrays.forEach((array, k) => voxels.set(array, k * this.sliceSize));
			return voxels;
		}
		/** Note whose labels the clean slices show: submission by slice, as the server has them. */
		saw(submissions, slices) {
			for (let k = 0; k < this.depth; k++) if (slices ? slices.includes(k) : !this.dirty.has(k)) this.seen[k] = submissions[k] ?? 0;
		}
		/** Slices that somebody else submitted since they came here. */
		outdated(submissions) {
			return this.seen.flatMap((id, k) => id === (submissions[k] ?? 0) ? [] : [k]);
		}
		/** Put slices in place; by hand ones become dirty, and each call is one step of undo unless it comes from elsewhere. */
		write(slices, byHand, undoable = true) {
			const changes = [];
			for (const [k, values] of slices) {
				if (same(this.arrays[k], values)) continue;
				changes.push({
					k,
					before: this.shadow[k].slice()
				});
				this.arrays[k].set(values);
				this.shadow[k].set(values);
				if (byHand) this.dirty.add(k);
			}
			if (undoable) this.remember(changes);
			this.redraw(changes.map((change) => change.k));
		}
		/** Put a whole volume in place, but for the slices that were drawn on since. */
		fill(voxels, submissions, undoable = true) {
			if (voxels.length !== this.depth * this.sliceSize) throw new Error("The answer does not fit this series; reload the page.");
			const slices = /* @__PURE__ */ new Map();
			for (let k = 0; k < this.depth; k++) if (!this.dirty.has(k)) slices.set(k, this.part(voxels, k));
			this.write(slices, false, undoable);
			this.saw(submissions);
		}
		undo() {
			this.commit();
			const changes = this.undoStack.pop();
			if (!changes) return false;
			for (const { k, before } of changes) {
				this.arrays[k].set(before);
				this.shadow[k].set(before);
				this.dirty.add(k);
			}
			this.redraw(changes.map((change) => change.k));
			this.onStroke(changes.map((change) => change.k));
			return true;
		}
		get steps() {
			return this.undoStack.length;
		}
		close() {
			this.ended = true;
			window.clearTimeout(this.timer);
			this.unsubscribe.forEach((end) => end());
		}
		/** Take what was drawn since the last look as one step. */
		commit() {
			if (this.ended) return;
			const changes = [];
			this.arrays.forEach((array, k) => {
				if (same(array, this.shadow[k])) return;
				changes.push({
					k,
					before: this.shadow[k].slice()
				});
				this.shadow[k].set(array);
				this.dirty.add(k);
			});
			if (!changes.length) return;
			this.remember(changes);
			this.onStroke(changes.map((change) => change.k));
		}
		remember(changes) {
			if (!changes.length) return;
			this.undoStack.push(changes);
			if (this.undoStack.length > UNDO_STEPS) this.undoStack.shift();
		}
		redraw(slices) {
			if (!slices.length) return;
			const frames = slices.map((k) => this.frames[k]);
			tools().segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.segmentationId, frames);
		}
		findVoxels() {
			const found = tools().segmentation.state.getSegmentation(this.segmentationId).representationData.Labelmap.imageIds.map((id, frame) => {
				const image = cornerstone().cache.getImage(id);
				return {
					frame,
					plane: planeOf(image.referencedImageId ?? id),
					array: image.voxelManager.getScalarData()
				};
			});
			found.sort((a, b) => dot(a.plane.position, a.plane.normal) - dot(b.plane.position, a.plane.normal));
			this.arrays = found.map((one) => one.array);
			this.frames = found.map((one) => one.frame);
			this.planes.push(...found.map((one) => one.plane));
			this.shadow = this.arrays.map((array) => array.slice());
			this.seen.push(...this.arrays.map(() => 0));
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
			window.addEventListener("mousedown", down, true);
			window.addEventListener("mouseup", up, true);
			this.unsubscribe.push(() => {
				cornerstone().eventTarget.removeEventListener(name, modified);
				window.removeEventListener("mousedown", down, true);
				window.removeEventListener("mouseup", up, true);
			});
		}
	};
	function same(a, b) {
		for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
		return true;
	}
	// src/points.ts
	/** What a click on a slice changes. */
	/** The slice with the clicks' change to one class; the server gives the mask with the clicks, and without. */
	function corrected(slice, planes, value) {
		const result = slice.slice();
		const drawn = slice.includes(value);
		for (let at = 0; at < slice.length; at++) {
			const [now, before] = [planes[at], planes[slice.length + at]];
			if (drawn && now === before) continue;
			if (now) result[at] = value;
			else if (slice[at] === value) result[at] = 0;
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
		points = [];
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
				const frame = Math.floor((event.clientY - rect.top) / rect.height * this.map.depth);
				for (let k = 0; k < this.map.depth; k++) if (this.map.frameOf(k) === frame) this.map.jump(k);
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
			const k = this.map.current();
			const [i, j] = this.map.pixel(Array.from(world), k);
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
			const depth = this.map.depth;
			this.strip.width = WIDTH;
			this.strip.height = Math.max(height, depth);
			this.strip.style.height = `${this.strip.height}px`;
			const context = this.strip.getContext("2d");
			if (!context) return;
			const step = this.strip.height / depth;
			const current = this.map.current();
			const known = this.uncertainty.filter((_, k) => !this.labelled.includes(k));
			const [low, high] = [Math.min(...known), Math.max(...known)];
			for (let k = 0; k < depth; k++) {
				const y = this.map.frameOf(k) * step;
				const doubt = this.uncertainty.length ? (this.uncertainty[k] - low) / Math.max(high - low, 1e-6) : null;
				const red = doubt === null ? 0 : Math.max(0, Math.min(1, doubt));
				const done = this.labelled.includes(k);
				context.fillStyle = doubt === null ? "#1d2b4d" : `rgb(${40 + 215 * red},${170 - 120 * red},60)`;
				if (done) context.fillStyle = "#ffffff";
				context.fillRect(0, y, WIDTH, Math.max(step - .5, 1));
				if (this.map.dirty.has(k)) {
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
			if (!viewport || !this.points.length) return;
			const k = this.map.current();
			for (const point of this.points.filter((one) => one.k === k)) {
				const [x, y] = viewport.worldToCanvas(this.map.world(point.i, point.j, point.k));
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
	// src/texts.ts
	function count(n, what) {
		return `${n} ${what}${n === 1 ? "" : "s"}`;
	}
	/** Slices as a person counts them: "slice 9", "slices 3, 9 and 2 more". */
	function slicesOf(ks) {
		const shown = ks.slice(0, 6).map((k) => k + 1).join(", ");
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
		if (state?.pacs?.problem) found.unshift(state.pacs.problem);
		if (state?.pacs?.waiting) found.unshift(`${count(state.pacs.waiting, "label")} kept here until the PACS takes them.`);
		if (foreign.length) found.unshift(`${capital(slicesOf(foreign))}: submitted from elsewhere since you drew on it. Nothing is overwritten unasked.`);
		if (unkept) found.unshift("The browser's store is full: what you draw would not survive a reload. Submit it.");
		return found;
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
#fewsam-panel .message { margin:6px 0; padding:6px 8px; border-radius:4px; background:#16224a; white-space:pre-wrap; overflow-wrap:anywhere }
#fewsam-panel .message.bad { background:#5a1f2a; color:#ffd9d9 }
#fewsam-panel .message.good { background:#1c4a2c; color:#d9ffe4 }
#fewsam-panel .message:empty { display:none }
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
		"undo",
		"clear",
		"add"
	];
	var View = class {
		acts;
		root = document.createElement("div");
		constructor(acts) {
			this.acts = acts;
			this.root.id = "fewsam-panel";
			this.root.innerHTML = `<style>${style}</style>
      <div class="message" id="fewsam-message"></div>
      <h4>Structures <span class="faint">labelled slices: here / all</span></h4>
      <div id="fewsam-classes"></div>
      <div class="fs-row" id="fewsam-new"><input type="text" placeholder="new structure" id="fewsam-name"><button id="fewsam-add">Add</button></div>
      <h4>Draw</h4>
      <div class="fs-row">
        <button data-tool="brush" id="fewsam-brush">Brush</button><button data-tool="eraser" id="fewsam-eraser">Eraser</button>
        <button data-tool="threshold" id="fewsam-threshold" title="Paints what looks like the tissue under the cursor">Threshold</button>
        <button id="fewsam-undo" title="Ctrl+Z">Undo</button>
      </div>
      <div class="fs-row"><span class="faint">size</span><input type="range" id="fewsam-size" min="1" max="60" step="1" value="8"></div>
      <h4>Correct with points</h4>
      <div class="fs-row">
        <button data-tool="include" id="fewsam-include">+ Include</button><button data-tool="exclude" id="fewsam-exclude">− Exclude</button>
        <button id="fewsam-clear">Clear points</button>
      </div>
      <h4>Learn</h4>
      <div class="fs-row"><button class="main" id="fewsam-submit">Submit</button><button id="fewsam-segment">Segment</button></div>
      <div class="fs-row"><button id="fewsam-theirs" title="Show what was submitted from elsewhere; Undo brings yours back">Take theirs</button></div>
      <div class="fs-row"><button id="fewsam-train">Train</button><button id="fewsam-next">Next slice</button></div>
      <progress id="fewsam-progress" max="1" value="0" hidden></progress>
      <div class="faint" id="fewsam-status"></div>
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
		}
		say(text, kind) {
			const message = this.find("fewsam-message");
			message.textContent = text;
			message.className = `message ${kind}`;
		}
		/** The typed name of a new structure. */
		get typed() {
			return this.find("fewsam-name").value.trim();
		}
		set typed(text) {
			this.find("fewsam-name").value = text;
		}
		show(now) {
			this.showClasses(now);
			this.find("fewsam-new").style.display = now.state?.new_labels ? "" : "none";
			this.root.querySelectorAll("[data-tool]").forEach((button) => {
				button.classList.toggle("on", button.dataset.tool === now.tool);
			});
			const training = Boolean(now.state?.training.running);
			const idle = now.open && !now.busy;
			for (const button of [
				"submit",
				"theirs",
				"segment",
				"train",
				"next"
			]) this.find(`fewsam-${button}`).disabled = !idle;
			this.find("fewsam-train").textContent = training ? "Stop training" : "Train";
			this.find("fewsam-undo").disabled = !now.steps;
			const drawn = now.dirty ? ` (${count(now.dirty, "slice")})` : "";
			this.find("fewsam-submit").textContent = now.conflict ? `Submit mine${drawn}` : `Submit${drawn}`;
			this.find("fewsam-theirs").style.display = now.conflict ? "" : "none";
			this.showProgress(training, now);
			if (now.state) drawCurve(this.root.querySelector("#fewsam-curve"), now.state.curve);
			this.find("fewsam-problems").textContent = now.problems.join("\n");
		}
		showClasses({ state, classes, chosen }) {
			this.find("fewsam-classes").replaceChildren(...classes.map((one) => {
				const row = document.createElement("div");
				row.className = `class ${one.value === chosen ? "on" : ""}`;
				row.dataset.name = one.name;
				const swatch = document.createElement("span");
				swatch.className = "swatch";
				swatch.style.background = `rgb(${one.color.join(",")})`;
				const name = document.createElement("span");
				name.textContent = one.name;
				const slices = document.createElement("span");
				slices.className = "count";
				slices.textContent = `${state?.image?.counts[one.name] ?? 0} / ${one.slices}`;
				row.append(swatch, name, slices);
				row.addEventListener("mousedown", () => this.acts.choose(one.value));
				return row;
			}));
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
	var JUMP = "fewsam.jump";
	var TOOLS = {
		brush: "CircularBrush",
		eraser: "CircularEraser",
		threshold: "ThresholdCircularBrushDynamic"
	};
	var Panel = class {
		id;
		view;
		state = null;
		map = null;
		overlay = null;
		opening = "";
		chosen = 1;
		tool = "";
		points = [];
		pending = [];
		conflict = [];
		busy = "";
		lost = false;
		unkept = false;
		wasTraining = false;
		trainedFrom = 0;
		timer = 0;
		waited = 0;
		radius = 8;
		constructor(id) {
			this.id = id;
			const acts = {
				submit: () => void this.submit(),
				theirs: () => void this.theirs(),
				segment: () => void this.segment(),
				train: () => void this.train(),
				next: () => void this.next(),
				undo: () => this.undo(),
				clear: () => this.clearPoints(),
				add: () => this.addClass()
			};
			this.view = new View({
				press: (button) => acts[button](),
				pick: (tool) => this.pick(tool),
				choose: (value) => this.choose(value),
				size: (radius) => brushSize(this.radius = radius)
			});
			window.addEventListener("keydown", this.keys, true);
			window.addEventListener("pagehide", this.closing);
			this.poll();
		}
		get root() {
			return this.view.root;
		}
		/** The mode was left: nothing of ours stays over the viewport. */
		close() {
			window.clearTimeout(this.timer);
			window.removeEventListener("keydown", this.keys, true);
			window.removeEventListener("pagehide", this.closing);
			this.leave();
		}
		closing = () => {
			this.map?.commit();
			if (this.map) keep(this.map, true);
		};
		async poll() {
			window.clearTimeout(this.timer);
			try {
				await this.follow();
				await this.refresh();
				if (this.map) this.keep(this.map);
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
			if (!now && !this.map && ++this.waited === 4) this.say(`No image series is open. Double-click one in the list. The viewer marks what it cannot show with a triangle in the list on the left.`, "");
			if (!now || this.opening === series + now.viewportId) return;
			if (this.map?.series === series && this.map.viewportId === now.viewportId) return;
			this.opening = series + now.viewportId;
			try {
				this.leave();
				this.state = await getState(series);
				const map = await Labelmap.open(now.viewportId, now.displaySet, this.classes());
				const known = await getLabelmap(series);
				map.fill(known.voxels, known.head.submissions);
				const drafts = restore(map);
				map.onStroke = () => {
					this.keep(map);
					this.show();
				};
				this.map = map;
				this.overlay = new Overlay(map);
				showPanel(this.id);
				map.choose(this.chosen);
				this.say(greeting(known.head, drafts, this.state), "");
				this.arrive();
			} finally {
				this.opening = "";
			}
		}
		leave() {
			if (this.map) {
				this.map.commit();
				keep(this.map, true);
				this.map.close();
			}
			this.overlay?.close();
			this.map = this.overlay = null;
			this.points = [];
			this.conflict = [];
		}
		keep(map) {
			this.unkept = !keep(map);
		}
		async refresh() {
			const before = this.state?.classes.length ?? 0;
			this.state = await getState(this.map?.series);
			if (this.map && this.state.classes.length !== before) this.map.colour(this.classes());
			const { training, model_version } = this.state;
			if (this.wasTraining && !training.running) {
				const notes = (training.notes ?? []).map((note) => `\n${note}`).join("");
				if (training.state === "failed") this.say(`Training failed: ${training.error}`, "bad");
				else if (model_version > this.trainedFrom) this.say(`Model ${model_version} is live. Segment again to use it.${notes}`, "good");
				else this.say(`The trained model was not better than what is served; ${this.served()} stays.${notes}`, "");
			}
			this.wasTraining = Boolean(training.running);
			await this.catchUp();
			this.show();
		}
		/** Show what was submitted from elsewhere, but on slices that are drawn on here. */
		async catchUp() {
			const [map, image] = [this.map, this.state?.image];
			if (!map || image?.id !== map.series) return;
			map.commit();
			const stale = map.outdated(image.submissions).filter((k) => !map.dirty.has(k));
			if (!stale.length) return;
			const { head, voxels } = await getLabelmap(map.series);
			if (this.map !== map) return;
			map.commit();
			map.fill(voxels, head.submissions, false);
			if (!this.busy) this.say(`${capital(slicesOf(stale))}: submitted from elsewhere, and shown here now.`, "");
		}
		classes() {
			return this.state?.classes.length ? this.state.classes : this.pending;
		}
		async submit() {
			await this.work("Submitting", async (map) => {
				map.commit();
				const slices = [...map.dirty].sort((a, b) => a - b);
				if (!slices.length) return this.say("Nothing to submit: no slice was changed by hand. Draw a structure or correct one first.", "bad");
				const drawn = Object.fromEntries(slices.map((k) => [k, map.seen[k]]));
				const voxels = map.all();
				let answer;
				try {
					answer = await submit({
						image: map.series,
						voxels,
						classes: this.known(),
						drawn,
						replace: this.conflict
					});
				} catch (error) {
					if (!(error instanceof Refusal) || error.status !== 409) throw error;
					this.conflict = error.body.slices;
					return this.say(error.message, "bad");
				}
				this.conflict = [];
				map.commit();
				map.saw(answer.submissions, slices);
				slices.filter((k) => same(map.slice(k), map.part(voxels, k))).forEach((k) => map.dirty.delete(k));
				this.keep(map);
				this.clearPoints();
				this.say(receipt(answer), answer.kept.length ? "" : "good");
			});
		}
		/** Give way to what somebody else submitted of the slices in question; undo brings ours back. */
		async theirs() {
			await this.work("Fetching", async (map) => {
				map.commit();
				const { head, voxels } = await getLabelmap(map.series);
				const slices = this.conflict;
				map.write(new Map(slices.map((k) => [k, map.part(voxels, k)])), false);
				slices.forEach((k) => map.dirty.delete(k));
				map.saw(head.submissions, slices);
				this.conflict = [];
				this.keep(map);
				this.say(`${capital(slicesOf(slices))}: as it was submitted from elsewhere. Undo brings yours back.`, "");
			});
		}
		async segment() {
			await this.work("Segmenting", async (map) => {
				map.commit();
				const { head, voxels } = await segment(map.series);
				map.fill(voxels, head.submissions);
				this.clearPoints();
				const kept = map.dirty.size ? ` ${count(map.dirty.size, "slice")} drawn and not submitted: left as drawn.` : "";
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
		async next() {
			await this.work("Choosing", async (map) => {
				map.commit();
				this.keep(map);
				const offer = await next();
				if (!offer.id) return this.say("Every slice is labelled, or somebody else is at it.", "good");
				if (offer.id === map.series) {
					map.jump(offer.slice ?? 0);
					return this.say(`Slice ${(offer.slice ?? 0) + 1}: its label would teach most.`, "good");
				}
				sessionStorage.setItem(JUMP, JSON.stringify({
					series: offer.id,
					slice: offer.slice
				}));
				const there = new URLSearchParams({
					StudyInstanceUIDs: offer.study ?? "",
					initialSeriesInstanceUID: offer.id
				});
				this.say("The slice is in another study; going there.", "");
				location.assign(`${location.pathname}?${there}`);
			});
		}
		/** After a change of study: to the slice it was made for. */
		arrive() {
			const text = sessionStorage.getItem(JUMP);
			if (!text || !this.map) return;
			const { series, slice } = JSON.parse(text);
			if (series !== this.map.series) return;
			sessionStorage.removeItem(JUMP);
			const map = this.map;
			window.setTimeout(() => map.jump(slice), 600);
			this.say(`Another study. Slice ${slice + 1}: its label would teach most.`, "good");
		}
		async point(i, j, k) {
			const label = this.name();
			const include = this.tool === "include";
			await this.work("Correcting", async (map) => {
				map.commit();
				const point = {
					i,
					j,
					k,
					include,
					label
				};
				const points = [...this.points, point].filter((one) => one.k === k && one.label === label);
				const side = (wanted) => points.filter((one) => one.include === wanted).map((one) => [one.i, one.j]);
				const { voxels } = await correct({
					image: map.series,
					slice: k,
					label,
					include: side(true),
					exclude: side(false)
				});
				this.points.push(point);
				map.write(/* @__PURE__ */ new Map([[k, corrected(map.slice(k), voxels, this.chosen)]]), true);
				this.keep(map);
				this.say(`${label}: ${count(points.length, "point")} on slice ${k + 1}. Submit when it is right.`, "");
			});
		}
		clearPoints() {
			this.points = [];
			this.show();
		}
		undo() {
			if (!this.map) return;
			if (!this.map.undo()) return this.say("Nothing to undo.", "");
			this.points.pop();
			this.keep(this.map);
			this.show();
		}
		addClass() {
			const name = this.view.typed;
			const known = this.known();
			if (!name) return this.say("Type the name of the structure first.", "bad");
			const there = known.find((one) => one.name.toLowerCase() === name.toLowerCase());
			if (there) return this.choose(there.value);
			const value = Math.max(0, ...known.map((one) => one.value)) + 1;
			const palette = this.state?.palette ?? [];
			this.pending.push({
				name,
				value,
				color: palette[(value - 1) % palette.length] ?? [
					230,
					75,
					53
				],
				slices: 0
			});
			this.view.typed = "";
			this.map?.colour(this.pending);
			this.choose(value);
		}
		/** Classes of the task, and those that were added here and not submitted yet. */
		known() {
			const server = this.state?.classes ?? [];
			const names = new Set(server.map((one) => one.name.toLowerCase()));
			return [...server, ...this.pending.filter((one) => !names.has(one.name.toLowerCase()))];
		}
		choose(value) {
			this.chosen = value;
			this.map?.choose(value);
			this.show();
		}
		name() {
			return this.known().find((one) => one.value === this.chosen)?.name ?? "";
		}
		pick(tool) {
			this.tool = this.tool === tool ? "" : tool;
			if (this.map) {
				if (TOOLS[this.tool]) {
					this.map.choose(this.chosen);
					useTool(this.map.viewportId, TOOLS[this.tool]);
					brushSize(this.radius);
				} else useTool(this.map.viewportId, "WindowLevel");
			}
			this.show();
		}
		keys = (event) => {
			if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey) {
				if (event.target instanceof HTMLInputElement && event.target.type === "text") return;
				event.preventDefault();
				event.stopImmediatePropagation();
				this.undo();
			}
		};
		async work(what, todo) {
			if (this.busy) return;
			if (!this.map) return this.say("Open a CT, MR or other image series first.", "bad");
			this.busy = what;
			this.show();
			try {
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
			const { state, map, chosen, tool, busy } = this;
			const submissions = state?.image?.submissions ?? {};
			const foreign = map?.outdated(submissions).filter((k) => map.dirty.has(k)) ?? [];
			this.view.show({
				state,
				chosen,
				tool,
				busy,
				classes: this.known(),
				open: Boolean(map),
				steps: map?.steps ?? 0,
				dirty: map?.dirty.size ?? 0,
				conflict: this.conflict.length,
				problems: problems(state, foreign, this.unkept)
			});
			if (!this.overlay || !map) return;
			this.overlay.uncertainty = state?.image?.uncertainty ?? [];
			this.overlay.labelled = state?.image?.labelled ?? [];
			this.overlay.points = this.points;
			const pointing = tool === "include" || tool === "exclude";
			this.overlay.onPoint = pointing ? (i, j, k) => void this.point(i, j, k) : null;
			this.overlay.draw();
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
	var config = window.config;
	config.extensions = [...config.extensions ?? [], extension];
	config.modes = [...config.modes ?? [], mode];
})();
