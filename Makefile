# Commands for a fresh machine with Python 3.11 or 3.12; all install into .venv first.
#   make demo    the main job on the bundled synthetic patient, results in out/demo
#   make test    every test
#   make check   style, types and the quick tests
#   make lint    style alone
#   make types   types alone
#   make install the environment alone
#   make sbom    the software bill of materials (CycloneDX), in out/sbom.json
#   make clean   takes away what these made

# A name on PATH may be a shim without an interpreter behind it, so each candidate has to prove itself.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
	>/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
TORCH_CPU := https://download.pytorch.org/whl/cpu
PYTEST_ARGS ?= -n auto --dist worksteal
# One thread a worker: the workers share the cores. Qt draws off screen. bf16 keeps off AMX, where torch can crash.
TEST_ENV := ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 OMP_NUM_THREADS=1 MPLBACKEND=Agg QT_QPA_PLATFORM=offscreen

.PHONY: demo test check lint types install clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Expected Python 3.11 or 3.12 with its venv module; found none on PATH." \
		"Install one (e.g. apt install python3.12-venv) or give it: make demo PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Without an NVIDIA driver the CPU build of torch saves gigabytes; where its index cannot be reached, any build will do.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -c "import torch" 2>/dev/null || command -v nvidia-smi >/dev/null 2>&1 || \
		{ curl -fsI -m 8 $(TORCH_CPU)/torch/ >/dev/null 2>&1 && \
		$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt --index-url $(TORCH_CPU) torch; } || true
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[slicer,test]"
	@touch $@

install: $(VENV)/.installed

# Pages and pictures that are made of the product and committed:
#   make api        the page of the Python interface, from the docstrings
#   make pictures   the pictures of the documentation, from the demo and the panels
.PHONY: api pictures
api: install
	$(BIN)/python Resources/Docs/make_api.py

pictures: install
	$(BIN)/python Resources/Docs/make_pictures.py

.PHONY: sbom
sbom: install
	$(BIN)/python Testing/static/sbom.py out/sbom.json

demo: install
	$(BIN)/cof demo --out $(OUT) --overwrite

test: install
	$(TEST_ENV) $(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint types
	$(TEST_ENV) $(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

clean:
	rm -rf $(VENV) out .pytest_cache .hypothesis .ruff_cache .mypy_cache
