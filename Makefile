# `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Versions that are tested together, of Python 3.11 on Linux: another takes what the bounds allow. None: make CONSTRAINTS=
CONSTRAINTS ?= $(shell $(PYTHON) -c 'import sys; print("constraints.txt" * (sys.version_info[:2] == (3, 11) and sys.platform == "linux"))')
# Each worker has one core, and what a process has compiled is for those that the tests start, too.
ONCE := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
QUICK := -m pytest -n 2 --dist loadfile -m "not slow and not docs and not browser"

.PHONY: help install run test lint types unit fast lock lowest newest docs format clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/  \1	/' | expand -t 14

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; call make PYTHON=python3.11 (or newer)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=--constraint %) --editable '.[dev]'
	touch $@

install: $(STAMP)  ## Create .venv and install (done by run and test when needed)

run: $(STAMP)  ## Train and fit the embedded sample: the main job
	$(BIN)/python -m inferno_cli train +experiment=top11004

test: lint types unit  ## Lint, types and tests

lint: $(STAMP)  ## ruff: format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

unit: $(STAMP)  ## pytest, on two cores
	$(ONCE) $(BIN)/python -m pytest -n 2 --dist loadfile

fast: $(STAMP)  ## The quick tests alone, in a minute or two
	$(BIN)/python $(QUICK)

lock: $(STAMP)  ## Write constraints.txt: the versions of all extras, those of .venv where it has one
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python scripts/lock.py

lowest: .venv-lowest/.installed  ## The quick tests with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python $(QUICK)

newest: .venv-newest/.installed  ## The same with the newest
	.venv-newest/bin/python $(QUICK)

.venv-%/.installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python $(RESOLUTION_$*) --editable '.[dev]'
	touch $@

RESOLUTION_lowest := --resolution lowest-direct
RESOLUTION_newest := --upgrade

docs: $(STAMP)  ## Build the documentation in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: $(STAMP)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove .venv and caches (not outputs)
	rm -rf $(VENV) .venv-lowest .venv-newest site .mypy_cache .pytest_cache .ruff_cache
