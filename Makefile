# PYTHON selects the interpreter and its environment: .venv for python3, .venv-NAME for any other.
PYTHON ?= python3
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
# Three stages, each with a file that tells whether it is installed: the package, the tools of
# developers, and the libraries to compare with.
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

PARALLEL := $(BIN)/python -m pytest --ignore=tests/parity --numprocesses=auto --dist=loadfile

.PHONY: ablation check cuda-check docs gpu lint parity slow spell test texts tpu-check tpu-sample types

ablation: $(INSTALLED)
	$(BIN)/lstm-lab sweep digits_ablation --workdir=runs/digits_ablation --jobs=2

check: lint types test

# The documentation site. A warning is an error. `make test` builds and checks the site too.
docs: $(READY)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees docs build/site
	@echo "build/site/index.html"

# The commands, Python blocks and links of README, CONTRIBUTING and docs/. Part of `make test` too.
texts: $(READY)
	$(BIN)/python -m pytest -m "not slow" tests/test_readme.py tests/test_tutorial.py tests/test_links.py

lint: $(READY) spell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

spell: $(READY)
	$(BIN)/codespell

types: $(READY)
	$(BIN)/mypy

# tests/conftest.py turns XLA's optimizations off, because compiling takes most of the time. An empty
# XLA_FLAGS prevents that: these tests are compiled as for users.
test: $(READY)
	$(PARALLEL) -m "not slow and not optimized"
	XLA_FLAGS= $(PARALLEL) -m "not slow and optimized"

# The tests open an exported page in a browser, with its runtime from npm; without it, they are skipped.
parity: $(PEERS)
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix build/web onnxruntime-web@1.30.0 \
	|| echo "no runtime from npm: the exported page is not opened"
	XLA_FLAGS= $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile tests/parity

# On a machine with an NVIDIA GPU and `pip install jax[cuda13]`: at most ten minutes, of which each
# part has its share. What is then missing runs when the command starts again: results are in
# runs/gpu. A part that fails does not keep the others from running. The log of tests is named after
# the code (Python, C++, tables), because a test that passed says nothing about other code. TF32 would hide small errors
# from the tests; and trying many kernels, as XLA does, would take most of their time.
GPU := runs/gpu
CODE = $(shell find lstm_lab tests -type f -not -path '*/__pycache__/*' | sort | xargs cat | sha256sum | cut -c1-8)
GPU_TESTS = JAX_PLATFORMS=cuda,cpu JAX_DEFAULT_MATMUL_PRECISION=highest \
	XLA_FLAGS=--xla_gpu_autotune_level=0 XLA_PYTHON_CLIENT_PREALLOCATE=false \
	timeout --signal=INT --kill-after=5 135 $(BIN)/python -m pytest --numprocesses=auto \
	-p tests.helpers.resume --resume-log=$(GPU)/tests-$(CODE).txt \
	tests/recurrence/backends/test_cudnn.py tests/recurrence/test_oracle.py
GPU_BENCH := $(BIN)/lstm-lab bench --rounds=3 --milliseconds=100 --resume
GPU_PEERS := --contenders="lstm_lab tf32,lstm_lab fp32,lstm_lab cudnn,torch tf32,torch fp32,torch fp16"
GPU_MANY := --contenders="lstm_lab tf32,lstm_lab in turn,torch tf32,torch fp16"
gpu: $(PEERS)
	mkdir -p $(GPU)
	failed=; \
	$(GPU_TESTS) || failed=yes; \
	$(GPU_BENCH) --suite=layer --work=gradient $(GPU_PEERS) --limit=130 --out=$(GPU)/layer.json || failed=yes; \
	$(GPU_BENCH) --suite=population $(GPU_MANY) --limit=60 --out=$(GPU)/population.json || failed=yes; \
	$(GPU_BENCH) --suite=train $(GPU_PEERS) --limit=65 --out=$(GPU)/train.json || failed=yes; \
	$(GPU_BENCH) --suite=backends --limit=113 --table=$(GPU)/timings.json --out=$(GPU)/backends.json || failed=yes; \
	$(BIN)/lstm-lab bench --suite=errors --resume --limit=40 --out=$(GPU)/errors.json || failed=yes; \
	$(BIN)/lstm-lab bench --collect=$(GPU) --out=docs/benchmarks.md || failed=yes; \
	test -z "$$failed"

# The training step of every config and variant, compiled for a TPU (in three layouts; tpu-sample: each
# in one of them) or an H100. No device is needed; nothing runs. The compilers take 1 GB and 5 GB; with
# them, JAX looks for a device at every start unless JAX_PLATFORMS says otherwise.
COMPILE := JAX_PLATFORMS=cpu XLA_FLAGS= $(BIN)/python -m pytest --numprocesses=auto tests/compilation/test_accelerators.py
tpu-check: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[tpu-check]"
	$(COMPILE) -k tpu

tpu-sample: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[tpu-check]"
	$(COMPILE) -k tpu -m "not slow"

cuda-check: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cuda-check]"
	$(COMPILE) -k gpu

slow: $(READY)
	XLA_FLAGS= $(BIN)/python -m pytest -m slow --ignore=tests/parity

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(READY): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,interop,peers,loggers]"
	touch $@
