# `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install run test lint types unit fast docs format clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/  \1	/' | expand -t 14

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; call make PYTHON=python3.11 (or newer)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
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
	$(BIN)/python -m pytest -n 2 --dist loadfile

fast: $(STAMP)  ## The quick tests alone, in a minute or two
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not docs and not browser"

docs: $(STAMP)  ## Build the documentation in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: $(STAMP)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove .venv and caches (not outputs)
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache
