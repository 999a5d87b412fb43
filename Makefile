# Every target works from a fresh clone: what it needs is made first, once.
SHELL := /bin/bash
ifeq ($(origin SECONDS),command line)
$(error SECONDS is MEASURE_S now, since bash changes SECONDS by itself: give MEASURE_S=$(SECONDS))
endif
.DELETE_ON_ERROR:
.SUFFIXES:

FITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.10; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
# An environment of another Python stays: one that PYTHON asks for is made beside it.
VERSION := import sys; print(*sys.version_info[:2], sep=".")
VENV := .venv$(shell have=$$(.venv/bin/python -c '$(VERSION)' 2>/dev/null) || exit 0; \
	want=$$($(PYTHON) -c '$(VERSION)' 2>/dev/null) || exit 0; \
	[ "$(origin PYTHON)" = file ] || [ $$have = $$want ] || echo -$$want)
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check

# Where the models compute on a GPU, onnxruntime-gpu takes onnxruntime's place; DEVICE=cpu or gpu forces it.
# Of `bundle` it is the device of the target, for which this environment needs nothing.
HERE := $(if $(filter bundle,$(MAKECMDGOALS)),,$(DEVICE))
ON := $(or $(HERE),$(shell $(PYTHON) -m server.device 2>/dev/null))
RUNTIME := $(if $(filter gpu,$(ON)),$(VENV)/gpu.stamp)

# Options that targets hand on: the server's settings and the checkpoint.
export BIND HTTP_PORT GRPC_PORT METRICS_PORT DEVICE CUDA_LIBRARIES CONFIG TRITON_DIR REPLICAS RUN_DIR
# What load, and what it has to reach; docs/load-tests.md.
export MODEL PROTOCOL SHAPE USERS RATE DURATION WARM_UP SEED PROCESSES INPUTS URL UI_PORT
export P99_MS MIN_RPS MAX_FAIL
# What is sent at the guard; docs/security.md.
export REQUESTS FIRST WORKERS CORPUS
# How long a config is searched for; docs/tuning.md.
export BUDGET_S CONFIRM_S
# What an archive for a machine without a network holds; docs/gpu.md.
export BUNDLE_PYTHON SPLIT COMPRESS WITHOUT MODELS DIST
# The ONNX Runtimes whose answers a build compares; docs/building.md.
export ORT_VERSIONS
# How benchmarks are measured; docs/benchmarks.md.
export ROUNDS MEASURE_S ONLY
# What is checked on a GPU, and where the results go; docs/gpu.md.
export OUT KEPT CALLERS ROWS CONFORMANCE
# How container images are built; docs/operations.md.
export ENGINE BASE MODELS MODEL_REPOSITORY TAG
BERT ?=
CANARY ?= 0
FROM ?=

.PHONY: help demo test test-unit test-long build serve cluster roll reload publish promote rollback conformance \
	bench bench-peers bench-backend bench-models bench-packing bench-explain bench-guard bench-publish \
	loadtest loadtest-ui tune fuzz gpu-check bundle images lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/demo.stamp ## Build the models, start Triton, classify real digits and reviews, stop
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m server during -- $(PY) -m clients.demo

build: $(VENV)/demo.stamp ## Fill model_repository/; BERT=<hub name or folder> the checkpoint, ORT_VERSIONS= what it is compared with
	@$(PY) -m build --bert "$(BERT)"

serve: $(VENV)/demo.stamp ## Serve on BIND, HTTP_PORT, GRPC_PORT, METRICS_PORT; DEVICE=cpu|gpu, CONFIG, TRITON_DIR choose
	@$(PY) -m build --keep-checkpoint
	@exec $(PY) -m server --stop-with-parent

cluster: $(VENV)/cluster.stamp ## Serve with REPLICAS=2 servers behind HAProxy: TLS, API keys, limits
	@$(PY) -m build --keep-checkpoint
	@exec $(PY) -m deploy.cluster --stop-with-parent

roll: $(VENV)/cluster.stamp ## Restart the cluster's servers, one after the other, without losing a request
	@$(PY) -m deploy.cluster roll

reload: $(VENV)/cluster.stamp ## Let the cluster's HAProxy read keys and certificate again
	@$(PY) -m deploy.cluster reload

publish: $(VENV)/cluster.stamp ## Build and serve the next version of MODEL; CANARY=10: for that percent of requests
	@$(PY) -m deploy.cluster publish $(or $(MODEL),mnist_cnn) --canary $(CANARY) --bert "$(BERT)" --from "$(FROM)"

promote: $(VENV)/cluster.stamp ## Serve the canary from all of the cluster's servers
	@$(PY) -m deploy.cluster promote

rollback: $(VENV)/cluster.stamp ## End the canary, or serve again what was served before
	@$(PY) -m deploy.cluster rollback

images: $(VENV)/cluster.stamp ## Build container images: ONLY=cpu,load,gpu,models, BASE=bootstrap without a registry, MODELS=1
	@[ -z "$(filter 1,$(MODELS))$(findstring models,$(ONLY))" ] || $(PY) -m build --keep-checkpoint
	@$(PY) -m deploy.docker.images

test: $(VENV)/dev.stamp ## Run the whole suite, the tests against a running Triton included
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m pytest

test-unit: $(VENV)/dev.stamp ## Run the tests that start no server; PYTHON=python3.12 chooses another Python
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m pytest -m "not e2e and not long"

test-long: $(VENV)/dev.stamp ## Run the tests that take long: what `make test` runs in a shorter form
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m pytest -m long

conformance: $(VENV)/dev.stamp ## Test the ONNX backend with small models; TRITON_URL=host:port tests another Triton
	@$(PY) -m pytest tests/conformance

bench: $(VENV)/load.stamp ## Measure what is claimed; ROUNDS, MEASURE_S, WARM_UP, ONLY=<name>,<name> choose
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m loadtests.compare

bench-peers: ONLY = peers
bench-peers: bench ## The same against FastAPI, LitServe and MLServer, installed for it

bench-backend: ONLY = backend
bench-backend: bench ## Compare the ONNX backend's speed with ONNX Runtime called directly

bench-models: ONLY = models
bench-models: bench ## Compare CNN, RNN and BERT as they are served: speed, size, accuracy, memory

bench-packing: ONLY = padding
bench-packing: bench ## Compare ways of batching texts: padded, sorted, packed; FP32 and int8

bench-explain: ONLY = explain,faithfulness
bench-explain: bench ## Measure what explanations cost, and whether they are faithful

bench-guard: ONLY = guard
bench-guard: bench ## Compare the guard's cost with that of HAProxy, and of checks in Lua

bench-publish: $(VENV)/load.stamp ## Write docs/benchmarks.md from what was measured on this machine
	@$(PY) -m loadtests.compare --publish

loadtest: $(VENV)/load.stamp ## Put MODEL under load over PROTOCOL in a SHAPE; P99_MS, MIN_RPS, MAX_FAIL must hold
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m loadtests

loadtest-ui: $(VENV)/load.stamp ## The same from Locust's web page, on UI_PORT of this machine
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m loadtests --ui

tune: $(VENV)/tune.stamp ## Find the config of MODEL with most throughput within P99_MS, or least latency at RATE
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m loadtests.tune

fuzz: $(VENV)/load.stamp ## Send REQUESTS mutated requests of SEED at a guarded server, for BUDGET_S at most
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m loadtests.fuzz

bundle: $(VENV)/bundle.stamp ## Write an archive that installs without a network; DEVICE, BUNDLE_PYTHON, SPLIT, WITHOUT
	@$(PY) -m build --keep-checkpoint
	@$(if $(findstring gpu-check,$(WITHOUT)),:,DEVICE=cpu $(PY) -m loadtests.gpu_check prepare --if-missing)
	@$(PY) -m deploy.bundle

gpu-check: $(VENV)/load.stamp $(VENV)/gpu-check.stamp ## Prove on a GPU, in BUDGET_S=480, that it serves as it should; DEVICE=cpu rehearses
	@$(PY) -m build --keep-checkpoint
	@$(PY) -m loadtests.gpu_check prepare --if-missing
	@$(PY) -m loadtests.gpu_check

lint: $(VENV)/dev.stamp ## Check format, rules and types
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

format: $(VENV)/dev.stamp ## Format the code and fix what can be fixed
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## Remove what was built: versions, caches of tools, the environment
	@# Only what bears our mark: a version without a manifest is a user's own.
	find model_repository -mindepth 3 -maxdepth 3 -name manifest.json -printf '%h\0' | xargs -0r rm -rf
	find model_repository -mindepth 2 -maxdepth 2 \( -name '.incomplete-*' -o -name .replaced -o -name .build.lock \) -exec rm -rf {} +
	@for made in .venv .venv-3.*; do [ ! -e $$made/pip.stamp ] || rm -rf $$made; done
	rm -rf .run .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pip.stamp:
	@$(or $(PYTHON),false) -c '$(FITS)' 2>/dev/null || { echo "a Python 3.10, 3.11 or 3.12 is needed; name one with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments; install its venv package (on Debian: python3-venv)" >&2; exit 1; }
	@echo "making the environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet 'pip==25.3'
	@touch $@

# NVIDIA's libraries come from its wheels where the system has none.
$(VENV)/gpu.stamp: $(VENV)/pip.stamp pyproject.toml constraints.txt
	@$(PY) -m build.install gpu $$($(PY) -m server.cuda.libraries && echo --without cuda-libraries)
	@touch $@

$(VENV)/%.stamp: $(VENV)/pip.stamp pyproject.toml constraints.txt $(RUNTIME)
	@$(PY) -m build.install $*
	@touch $@
