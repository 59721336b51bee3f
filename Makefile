# What there is to run. Everything installs into .venv of this folder; nothing else is touched.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
TORCH  := .venv-torch
FUZZ   := .venv-fuzz
HEAVY  := .venv-heavy
ENGINES := .venv-engines
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

# Processes that share the tests, a file to each at a time.
WORKERS ?= 2

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "atd needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.user: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,parquet,s3]' --group dev
	@touch $@

.PHONY: demo
demo: $(VENV)/.user ## the whole story on this machine: publish, discover by handle, prove, load
	@$(BIN)/atd demo

.PHONY: test
test: $(VENV)/.dev ## the test suite, with the reference PDS and PLC directory
	$(BIN)/python tests/reference/install.py
	ATD_REQUIRE_REFERENCE=1 $(PYTEST) -n $(WORKERS) --dist loadfile --durations 15

.PHONY: test-heavy
test-heavy: $(HEAVY)/.ready ## the doors to large libraries: polars, datasets, grain (own environment)
	$(HEAVY)/bin/python tests/reference/install.py
	$(HEAVY)/bin/python -m pytest tests/heavy tests/story/test_fsspec.py

$(HEAVY)/.ready: pyproject.toml
	test -x $(HEAVY)/bin/python || $(PYTHON) -m venv $(HEAVY)
	$(HEAVY)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(HEAVY)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[demo,parquet,s3,polars,hf]' --group dev --group heavy
	@touch $@

.PHONY: test-torch
test-torch: $(TORCH)/.ready ## training with torch and torchdata (own environment)
	$(TORCH)/bin/python -m pytest --confcutdir=tests/training tests/training

$(TORCH)/.ready: pyproject.toml
	test -x $(TORCH)/bin/python || $(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check -e . --group torch-test
	@touch $@

.PHONY: test-engines
test-engines: $(ENGINES)/.ready ## packing on real clusters of Dask and Ray, and Ray Data (own environment)
	$(ENGINES)/bin/python -m pytest --confcutdir=tests/engines tests/engines

$(ENGINES)/.ready: pyproject.toml
	test -x $(ENGINES)/bin/python || $(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(ENGINES)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dask,ray]' --group engines-test
	@touch $@

# How many random histories a follower goes through, and the seed of the first.
SEEDS ?= 200
FIRST ?= 0

.PHONY: soak
soak: $(VENV)/.dev ## random histories of lies, faults and SIGKILL for whoever follows: SEEDS=200 FIRST=0
	ATD_SOAK_SEEDS=$(SEEDS) ATD_SOAK_FIRST=$(FIRST) $(PYTEST) -n $(WORKERS) tests/oracle

# How long each reader is attacked.
SECONDS ?= 60

.PHONY: fuzz
fuzz: $(FUZZ)/.ready ## attack every reader of foreign bytes, SECONDS=60 each (own environment, with atheris)
	cd tests && ../$(FUZZ)/bin/python -m fuzz.run $(SECONDS)

$(FUZZ)/.ready: pyproject.toml
	test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check -e . --group fuzz || { echo "atheris does not install here: it has wheels for Linux and some versions of Python; make test attacks the same readers for a moment, without it"; exit 1; }
	@touch $@

.PHONY: lint
lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: bench
bench: $(VENV)/.dev ## the benchmarks: ratios against a peer in the same run
	@for b in benchmarks/*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

.PHONY: bench-loader
bench-loader: $(VENV)/.dev ## how fast samples are read, beside the peers in environments of their own (options: ARGS="--help")
	$(BIN)/python benchmarks/loader $(ARGS)

.PHONY: clean
clean: ## remove what make installed and what tests left
	rm -rf $(VENV) $(HEAVY) $(TORCH) $(FUZZ) $(ENGINES) .fuzz tests/reference/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
