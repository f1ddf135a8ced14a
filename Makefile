# `make run` trains the first preset, `make test` runs the suite and `make test-long` what takes longer: real launches,
# kills, wheels. Each sets up `.venv` first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: run models test test-long test-browser lint types clean

run: $(READY)
	$(BIN)/python -m supervisors.run --hparams mamba_remi

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST) --ignore tests/long --ignore tests/browser

test-long: $(READY)
	$(PYTEST) tests/long

# The models of chorales and folk tunes as a wheel in dist/, trained unless their runs stand.
models: $(READY)
	$(BIN)/python -m supervisors.run train mamba_remi
	$(BIN)/python -m supervisors.run train mamba_abc dataset=folk_tunes name=folk_tunes
	$(BIN)/python -m supervisors.artefacts.shipping dist chorales=runs/mamba_remi folk_tunes=runs/folk_tunes

# Clicks through the pages in Chromium (on Debian: apt install chromium); pictures go to build/screenshots.
test-browser: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,browser,studio]'
	$(BIN)/python -m pytest -q tests/browser

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python %d.%d found; expected 3.11 to 3.13: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info
