# `make` alone prints this help.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DEMO := demo
MEASURED := .coverage-data
TORCH := torch==2.13.0

.PHONY: help install torch browser demo test fuzz coverage mutants check format bench clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# A new virtual environment with the package and what tests and checks need. It is made again when
# pyproject.toml changes. torch is not in it: tests that need torch are skipped.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Patchpress needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,dask]'
	touch $@

# This build of torch is small. If pip chose one for another package, it would take gigabytes.
torch: $(STAMP) ## add torch and Lightning to .venv, for the tests and benchmarks that need them
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,dask,torch,lightning]'

# The page is tested in the system's own Chromium: no browser is fetched from elsewhere.
browser: $(STAMP) ## Debian's chromium and Playwright, for the tests of the page in a real browser
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,dask,browser]'

install: $(STAMP) ## a virtual environment in .venv with the package in it

demo: $(STAMP) ## a small synthetic data set: made, converted, verified, counted, read, drawn
	rm -rf $(DEMO) && mkdir $(DEMO)
	$(BIN)/python -m tests.support.synthetic --out $(DEMO)/raw --n 48
	$(BIN)/patchpress convert bigearthnet-v2 $(DEMO)/raw $(DEMO)/ben.store
	$(BIN)/patchpress verify $(DEMO)/ben.store --against $(DEMO)/raw
	$(BIN)/patchpress inspect $(DEMO)/ben.store
	$(BIN)/patchpress stats $(DEMO)/ben.store --split train
	$(BIN)/python examples/read.py $(DEMO)/ben.store
	$(BIN)/patchpress plot $(DEMO)/ben.store --count 4 --seed 11 --out $(DEMO)/patches.png
	$(BIN)/patchpress plot $(DEMO)/ben.store --picture classes --out $(DEMO)/classes.png
	$(BIN)/patchpress plot $(DEMO)/ben.store --picture places --out $(DEMO)/places.png
	@echo "Pictures to open: $(DEMO)/patches.png (patches), $(DEMO)/classes.png (labels), $(DEMO)/places.png (a map)"

test: $(STAMP) ## all tests but the slow ones; SLOW=1 for these, too; PYTEST=... for options of pytest
	$(BIN)/python -m pytest $(if $(SLOW),,-m 'not slow') $(PYTEST)

fuzz: $(STAMP) ## odd bytes to every parser, TIME=60 seconds or RUNS=20000 inputs each; TARGETS="tiff tar"
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,dask,fuzz]'
	$(BIN)/python -m tests.fuzz $(TARGETS) $(if $(RUNS),--runs $(RUNS),--seconds $(or $(TIME),60))

# A part is never held against the limit in pyproject.toml.
coverage: $(STAMP) ## branches that the tests reach, in all processes; SLOW=1; TESTS="tests/readers" for a part, ADD=1 to add it
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,proof]'
	mkdir -p $(MEASURED) $(if $(ADD),,&& rm -f $(MEASURED)/*)
	-COVERAGE_FILE=$(CURDIR)/$(MEASURED)/data $(BIN)/python -m coverage run -m pytest $(if $(SLOW),,-m 'not slow') $(TESTS) $(PYTEST)
	COVERAGE_FILE=$(CURDIR)/$(MEASURED)/data $(BIN)/python -m coverage combine --quiet --append
	COVERAGE_FILE=$(CURDIR)/$(MEASURED)/data $(BIN)/python -m coverage report $(if $(TESTS),--fail-under=0)

mutants: $(STAMP) ## deliberate faults in modules of the format, COUNT=60 each; NAMES="record btree"
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,proof]'
	$(BIN)/python -m tests.mutants $(NAMES) --count $(or $(COUNT),60)

check: $(STAMP) ## linters and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## compare with the peers; CASES="read cold" TREE=DIR N=2000 OUT=bench PEERS=1
	$(if $(PEERS),-$(BIN)/python -m benchmarks environments --out $(or $(OUT),bench))
	$(BIN)/python -m benchmarks $(CASES) $(if $(TREE),--tree $(TREE)) $(if $(N),--n $(N)) --out $(or $(OUT),bench)

clean: ## remove what was made
	rm -rf $(VENV) $(DEMO) bench build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz $(MEASURED)
