# Everything runs in .venv, made here from pyproject.toml. Needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: install quickstart test faults check bench format clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

quickstart: install   ## the whole journey on scikit-learn's digits, in minutes
	$(BIN)/study run quickstart

test: install         ## on two cores at once
	$(TEST) -m 'not faults'

faults: install       ## whole studies that are killed, cut off from their store, out of disk space …
	$(TEST) -m faults

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

clean:
	rm -rf .venv build *.egg-info
