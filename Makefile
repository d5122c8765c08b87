# Weirflow's targets. `make demo` and `make test` set everything up by themselves; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv

.PHONY: help demo test check bench docs notebooks site screenshots setup setup-dev lock format clean
help:        ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# What a user runs: dependencies pinned by hash, then this tree itself (no isolation: the build tool is pinned as well).
$(VENV)/.run: requirements.lock pyproject.toml dataplane/build.py $(wildcard dataplane/*/*.[ch])
	$(PYTHON) -c 'import sys; sys.exit("Weirflow needs Python 3.11 or newer; set PYTHON=/path/to/it" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --no-index -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(PIP) --require-hashes -r requirements-dev.lock
	touch $@

setup: $(VENV)/.run       ## the virtual environment to run Weirflow
setup-dev: $(VENV)/.dev   ## the virtual environment to work on it

demo: setup               ## the story, on your machine, in under 90 seconds
	$(BIN)/weirflow demo

test: setup-dev           ## all tests, real Envoy included
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: setup-dev          ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup-dev           ## make the reference pages and the JSON Schema anew from the code
	$(BIN)/python docs/reference/generate.py
	$(BIN)/python deploy/grafana/generate.py

site: setup-dev           ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: setup-dev    ## pictures of the console, of a mesh that is started for it
	$(BIN)/python -m tests.screenshots

notebooks: setup-dev      ## make the small recordings and run the notebooks over them
	$(BIN)/python notebooks/execute.py

format: setup-dev         ## put the format right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-dev          ## the measured figures, as JSON lines
	$(BIN)/python -m bench

lock:                     ## pin the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet requirements.in pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:                    ## the virtual environment and the caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
