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

.PHONY: ablation check docs lint parity slow spell test texts types

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

parity: $(PEERS)
	XLA_FLAGS= $(BIN)/python -m pytest tests/parity

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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,interop,peers]"
	touch $@
