# `make help` lists the targets. Everything runs inside .venv, which `make setup` builds.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Tests of different kinds would fight over the same cores, and their output would mix.
.NOTPARALLEL:

IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# The first interpreter that is new enough; `make setup PYTHON=...` names another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then echo $$name; break; fi; done)

BIN := .venv/bin
# Written last, so it stands for a finished installation only.
STAMP := .venv/.installed
MOTO := .venv-moto/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
DIGITS := data/digits
FLIGHTS := data/flights
SOAK_MINUTES ?= 15
SOURCES := orchestrator pipelines benchmarks tests

.PHONY: help setup quickstart flights test test-unit test-ray chaos-quick test-chaos test-all soak lint types layers \
	check bench bench-quick bench-setup format docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) $(MOTO) ## Make .venv with the pinned dependencies and the project (nothing to do when up to date)

$(STAMP): pyproject.toml constraints.txt
	@if ! $(or $(PYTHON),false) -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
		echo "error: Python 3.11 or newer is needed; $(or $(PYTHON),what is on PATH) does not do." >&2; \
		echo "hint: name one with 'make setup PYTHON=/path/to/python3.11'." >&2; \
		exit 1; \
	fi
	@rm -f $@
	@if ! { $(BIN)/python -c '$(IS_NEW_ENOUGH)' && $(PIP) --version; } >/dev/null 2>&1; then \
		rm -rf .venv && $(PYTHON) -m venv .venv; \
	fi
	$(PIP) install --quiet --constraint constraints.txt setuptools
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[digits,flights,dev]'
	@touch $@

# The AWS of the tests, apart: botocore wants an older python-dateutil than ours.
$(MOTO): constraints-moto.txt | $(STAMP)
	$(BIN)/python -m venv .venv-moto
	.venv-moto/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints-moto.txt 'moto[s3,server]'
	@touch $@

quickstart: $(STAMP) | $(DIGITS) ## Set up, prepare the digits data, train on it, print the result
	$(BIN)/orchestrator run jobs/digits.yaml

flights: $(STAMP) | $(FLIGHTS) ## Set up, prepare the flights data, train on it, print the result
	$(BIN)/orchestrator run jobs/flights.yaml

# Only made where missing: preparing writes aside and renames, so such a folder is never half full.
$(DIGITS) $(FLIGHTS): data/%: | $(STAMP)
	$(BIN)/python -m pipelines.$*.prepare --out $@

test: lint types layers test-unit test-ray chaos-quick ## All checks and all tests but the slow ones

test-unit: $(STAMP) ## Tests without Ray, network or GPU
	$(PYTEST) tests/unit tests/architecture -m "not slow" -n auto --dist loadfile

test-ray: $(STAMP) $(MOTO) ## Tests on an embedded Ray, but the slow ones
	$(PYTEST) tests/ray -m "not slow"

chaos-quick: $(STAMP) $(MOTO) ## Tests that kill processes, but the slow ones
	$(PYTEST) tests/chaos -m "not slow"

# `make flights` prepares the data of the six kills, which are left out without.
test-chaos: $(STAMP) $(MOTO) ## Every test that kills processes, half an hour or so
	$(PYTEST) tests/chaos

test-all: $(MOTO) lint types layers ## All checks and every test, the slow ones and (on a GPU) the GPU ones too
	$(PYTEST) tests

# `SOAK_MINUTES=3 SOAK_SEED=7 make soak` is shorter, and has the faults of that seed in their order.
soak: $(STAMP) ## One run under random kills for 15 minutes; nothing may be lost, nothing may grow
	$(BIN)/python -m tests.chaos.soak --minutes $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

lint: $(STAMP) ## Formatting and lint rules
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

layers: $(STAMP) ## Imports go down the layers only
	$(BIN)/lint-imports

check: lint types layers test-unit ## What to run before each commit

bench: $(STAMP) ## Measure beside limits and peers, an hour or so; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks --write-docs

bench-quick: $(STAMP) ## Small variants of four benchmarks; fails where a ratio has got much worse
	$(BIN)/python -m benchmarks --quick --check --rounds 1

bench-setup: $(STAMP) ## Install the peers that `make bench` compares with where they are installed
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable '.[bench,peers]'

format: $(STAMP) ## Rewrite the sources as `make lint` wants them
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

docs: $(STAMP) ## Write docs/spec.md, docs/job.schema.json and cluster/ anew from the models
	$(BIN)/orchestrator schema --markdown > docs/spec.md.new
	mv docs/spec.md.new docs/spec.md
	$(BIN)/orchestrator schema > docs/job.schema.json.new
	mv docs/job.schema.json.new docs/job.schema.json
	for cloud in aws azure gcp; do $(BIN)/orchestrator cluster render jobs/flights.yaml --provider $$cloud --out cluster/$$cloud.yaml; done
	$(BIN)/orchestrator cluster render jobs/flights.yaml --provider kuberay --out cluster/kuberay/rayjob.yaml
	$(BIN)/orchestrator cluster render jobs/flights.yaml --provider kuberay-cluster --out cluster/kuberay/raycluster.yaml

clean: ## Remove .venv, the prepared data and caches; the runs stay
	rm -rf .venv .venv-moto $(DIGITS) $(FLIGHTS) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
