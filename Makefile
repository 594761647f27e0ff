# `make` alone prints this help.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DEMO := demo
MEASURED := .coverage-data
TORCH := torch==2.13.0
# Some containers set this. Then each command would compile all of the package again, and the tests
# start thousands of commands. Empty means that it is not set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install torch neighbours browser demo docs test test-lowest fuzz coverage mutants check dist format bench clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

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

# The programs whose formats `export` writes read what it wrote.
neighbours: $(STAMP) ## add readers of the formats of `export` to .venv, for its tests
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/neighbours.txt

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
	$(BIN)/python -m $(if $(SLOW),tests.support.at_once,pytest -m 'not slow') $(PYTEST)

# Newer packages than these warn of their future: such warnings are no errors here.
test-lowest: ## the tests of reading and converting with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet '$(TORCH)'
	.venv-lowest/bin/python -m pip install --quiet --constraint tests/lowest.txt --editable '.[plot,dask,view,query,zarr,arrayrecord,lightning,cloud]' pytest hypothesis
	.venv-lowest/bin/python -m pytest -m 'not slow' -W ignore::DeprecationWarning $(or $(TESTS),tests/readers tests/converter) $(PYTEST)

# The package is tried as a user gets it: the wheel with nothing but what it asks for, and the tests
# of the source distribution where it lies.
dist: $(STAMP) ## source distribution and wheel in dist/, built, checked and tried; TESTS= for other tests of them
	rm -rf dist .dist && $(BIN)/python -m pip install --quiet build check-wheel-contents twine
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PYTHON) -m venv .dist/wheel && .dist/wheel/bin/python -m pip install --quiet dist/*.whl
	mkdir .dist/sdist && tar -xf dist/*.tar.gz -C .dist/sdist --strip-components 1
	cd .dist/sdist && $(CURDIR)/$(BIN)/python -m tests.support.synthetic --out ../raw --n 12
	cd .dist && wheel/bin/patchpress convert bigearthnet-v2 raw ben.store
	cd .dist && wheel/bin/patchpress verify ben.store --against raw
	cd .dist && wheel/bin/python sdist/examples/read.py ben.store
	$(PYTHON) -m venv .dist/sdist/.venv
	cd .dist/sdist && .venv/bin/python -m pip install --quiet '.[dev,plot]'
	cd .dist/sdist && .venv/bin/python -m pytest -m 'not slow' $(or $(TESTS),tests/house tests/examples tests/readers) $(PYTEST)
	rm -rf .dist

fuzz: $(STAMP) ## odd bytes to every parser, TIME=60 seconds or RUNS=20000 inputs each; TARGETS="tiff tar"
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,dask,fuzz]'
	$(BIN)/python -m tests.fuzz $(TARGETS) $(if $(RUNS),--runs $(RUNS),--seconds $(or $(TIME),60))

docs: $(STAMP) ## the documentation as a site in site/; any warning is an error
	$(BIN)/python -m pip install --quiet --editable '.[dev,plot,dask,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

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
	rm -rf $(VENV) .venv-lowest .dist dist $(DEMO) bench build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz $(MEASURED)
