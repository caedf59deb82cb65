# Every target creates its environment (.venv) and installs what it needs: Python 3.11+, make and
# pip are enough. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-peers
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test check lint types imports docs bench bench-peers bench-growth bench-scaling \
  proof format clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## Kill a writer in the middle of its work and see that nothing is lost
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/.installed-dev  ## Run every test
	@$(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS)

check: lint types imports docs test  ## Everything CI runs: lint, types, imports, docs, tests

lint: $(VENV)/.installed-dev  ## Check style and formatting (ruff)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "run: make format" >&2; exit 1; }

types: $(VENV)/.installed-dev  ## Check types (mypy --strict)
	@$(BIN)/mypy

imports: $(VENV)/.installed-dev  ## Check that imports only go down (import-linter)
	@$(BIN)/lint-imports --no-logo

docs: $(VENV)/.installed-dev  ## Build the documentation into site/, strictly
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

bench: $(VENV)/.installed-dev  ## Measure against the raw engines; ARGS="--help" for single cases
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(PEERS)/.installed  ## Measure beside other stores; ARGS=--quick for a smoke run
	@$(PEERS)/bin/python -W ignore -m benchmarks.peers $(ARGS)

bench-growth: $(PEERS)/.installed  ## Measure as keys and scopes grow; ARGS=--full for 5,000,000 keys
	@$(PEERS)/bin/python -W ignore -m benchmarks.growth $(ARGS)

bench-scaling: $(VENV)/.installed-dev  ## Measure and model many processes on one Postgres
	@$(BIN)/python -m benchmarks.scaling $(ARGS)

proof: $(VENV)/.installed-dev  ## Attack what is promised: crashes, faults, anomalies; ARGS=--long
	@$(BIN)/python -m proof $(ARGS)

format: $(VENV)/.installed-dev  ## Format the code and fix what can be fixed (ruff)
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

clean:  ## Remove the environment and everything that was built
	rm -rf $(VENV) $(PEERS) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ---------------------------------------------------------------------------

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Holdfast needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	@echo "installing holdfast"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.python pyproject.toml examples/holdfast-lmdb/pyproject.toml
	@echo "installing holdfast with its development tools"
	@$(PIP) install --editable '.[dev]' --editable examples/holdfast-lmdb
	@touch $(VENV)/.installed $@

$(PEERS)/.installed: benchmarks/peers/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Holdfast needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "creating $(PEERS) with the stores to compare with"
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install \
	  --editable '.[rocksdb,postgres]' -r benchmarks/peers/requirements.txt
	@touch $@
