# Five verbs anyone can guess. Each sets up what it needs: nothing has to be installed first but Python 3.11+ and make.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

# Tests start hundreds of processes; where nothing may be kept, each would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo check test test-all bench browse clean

help:
	@echo "make demo      set up, run the words pipeline on built-in text, show scores and where to look"
	@echo "make test      set up, lint, type-check and run the whole test suite"
	@echo "make check     lint and type-check only"
	@echo "make bench     how long the pipeline takes, cold and cached"
	@echo "make browse    the model registry as a web page on 127.0.0.1:5000"
	@echo "make install   set up .venv only   (another Python: make clean install PYTHON=/path/to/python3.12)"
	@echo "make clean     remove .venv and caches; .vecmill (artifacts and registry) stays"

install: $(BASE)

$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vecmill needs Python 3.11 or newer; found $$($(PYTHON) --version 2>&1). Set PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (a few minutes the first time) ..."
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(BASE)
	@echo "Adding what tests and checks need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(BASE)
	@$(BIN)/vecmill run words
	@echo
	@echo "Run it again and every stage is cached. Next:"
	@echo "  $(BIN)/vecmill explain words --set train.epochs=30    what would run, and why"
	@echo "  make browse                                         the registry as a web page"

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Twice as many processes as two cores: much of what tests do is wait for servers, and for programs that were killed.
test: check
	$(BIN)/pytest -n 3 --dist loadscope --no-loadscope-reorder

test-all: test bench

bench: $(DEV)
	$(BIN)/python benchmarks/pipeline.py

browse: $(BASE)
	@$(BIN)/vecmill browse

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis vecmill.egg-info build
