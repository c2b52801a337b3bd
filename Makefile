# Everything happens in .venv, with the exact versions of constraints.txt.
PYTHON ?= python3
BOARD ?= icebreaker
OUT ?= out
VENV := .venv
BITTERN := $(VENV)/bin/python -m bittern
DIGITS := examples/digits/digits.onnx
IMAGES := examples/digits/test.npz

.DEFAULT_GOAL := digits
.DELETE_ON_ERROR:
.PHONY: digits install test slow lint clean help

digits: $(VENV)/.run ## Run the main job on the network that ships: to a bitstream for BOARD, in OUT
	@mkdir -p $(OUT)
	$(BITTERN) inspect $(DIGITS)
	$(BITTERN) golden $(DIGITS) --input $(IMAGES) --output $(OUT)/golden.npy --json > $(OUT)/golden.json
	$(BITTERN) simulate $(DIGITS) --input $(IMAGES) --count 32 --board $(BOARD) --json > $(OUT)/simulate.json
	$(BITTERN) build $(DIGITS) --board $(BOARD) -o $(OUT)/digits --json > $(OUT)/build.json
	@$(VENV)/bin/python examples/table.py $(OUT)

install: $(VENV)/.run ## Install Bittern in .venv

test: lint ## Check style and types, run the fast tests (a design in Verilator, one routed)
	$(VENV)/bin/python -m pytest -q -m "not slow" -n auto --dist worksteal

slow: $(VENV)/.dev ## Run all tests, the slow ones too
	$(VENV)/bin/python -m pytest -q

lint: $(VENV)/.dev ## Check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

clean: ## Remove .venv and all that was made
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Bittern needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check --progress-bar on -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -U "pip>=25.1"
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[train]" --group dev
	@touch $@

.PHONY: bench
bench: $(VENV)/.dev ## Run the benchmarks, from golden model to routed designs; the README quotes them
	$(VENV)/bin/python benchmarks/exactness.py
	$(VENV)/bin/python benchmarks/speed.py
	$(VENV)/bin/python benchmarks/readme.py

.PHONY: measure-cells prove
measure-cells: $(VENV)/.dev ## Measure every cell on every family; write docs/cells.md
	$(VENV)/bin/python benchmarks/measure_cells.py; status=$$?; \
	$(VENV)/bin/python benchmarks/cells_page.py && exit $$status

prove: $(VENV)/.dev ## Prove that the gates of operators equal their specifications
	$(VENV)/bin/python -m bittern.sim.prove

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Compare random networks of each importer with their runtimes, and damaged files
	$(VENV)/bin/python tests/fuzz.py
