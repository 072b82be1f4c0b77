# Everything a contributor and CI run; `make help` lists it. No root, no Docker: what is needed is set up on first use.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --all-extras pyproject.toml -o requirements.lock

.PHONY: help setup demo test check bench e2e stack-up stack-down lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## the environment (.venv); every other target does it by itself

demo: $(READY) ## the whole pipeline live on this machine, then a table of totals (DEMO_SECONDS=20 stops by itself)
	@$(BIN)/python -m infra.demo

test: $(READY) ## all tests but the nightly ones, two files at a time
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(READY) ## lint, format, types, imports, tidiness: what CI refuses
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_tidy.py

bench: $(READY) ## speed against the bare client and plain Faust; writes build/bench.json
	@$(BIN)/python -m tests.bench

e2e: $(READY) ## the tests on real parts only
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/e2e tests/contracts

stack-up: $(READY) ## Kafka and Redis on free ports, data in .stack (more: .venv/bin/python -m infra.stack up --help)
	@$(BIN)/python -m infra.stack up

stack-down: $(READY) ## end them; the data stays
	@$(BIN)/python -m infra.stack down

lock: $(READY) ## requirements.lock anew from pyproject.toml
	@$(BIN)/$(LOCK) --quiet

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Python 3.11 or newer is needed and '$(PYTHON)' is not: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { \
		echo "make: no virtual environment: install your system's venv package (Debian: python3-venv)" >&2; exit 2; }
	@echo "Getting what requirements.lock names (about 700 MB the first time) ..."
	@$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@
