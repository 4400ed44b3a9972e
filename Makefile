# Everything runs in .venv, made here from pyproject.toml. Needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal
# The versions that the tests last passed with, so that these commands do tomorrow what they do today.
# `make install CONSTRAINTS=` takes the newest that pyproject.toml allows.
CONSTRAINTS := -c .ci/tested.txt

.PHONY: install quickstart test faults lowest check bench format constraints clean

install: .venv/installed

.venv/installed: pyproject.toml .ci/tested.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e '.[dev]'
	touch $@

quickstart: install   ## the whole journey on scikit-learn's digits, in minutes
	$(BIN)/study run quickstart

test: install         ## on two cores at once
	$(TEST) -m 'not faults'

faults: install       ## whole studies that are killed, cut off from their store, out of disk space …
	$(TEST) -m faults

lowest: .venv-lowest/installed  ## the tests of `make test` at the lowest versions that pyproject.toml allows
	$(subst $(BIN),.venv-lowest/bin,$(TEST)) -m 'not faults'

.venv-lowest/installed: pyproject.toml .ci/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check -c .ci/lowest.txt -e '.[dev]'
	touch $@

check: install        ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install        ## what a step of each optimizer costs beside torch's own
	OMP_WAIT_POLICY=passive $(BIN)/python -m tests.benchmarks.optimizers # a waiting thread leaves its core to others

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: install  ## write .ci/tested.txt from what .venv holds, .ci/lowest.txt from pyproject.toml
	$(BIN)/python .ci/constraints.py

clean:
	rm -rf .venv .venv-lowest build *.egg-info
