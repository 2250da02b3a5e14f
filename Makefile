# Needs python3 (3.11 or later) and a package registry; everything else is put into .venv.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/lock.sha256
# warnings are errors: a link that leads nowhere, a docstring that cannot be read, a tutorial that fails
SITE = $(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
# tutorials that fit, a minute or two each
FITS := demonstration lamost anchors line-list cluster

.PHONY: help env test test-slow demo lint package pythons lock docs docs-quick reference tables clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

env: $(STAMP)  ## make .venv from requirements.lock (again only when the lock changes)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "astrogf needs Python 3.11 or later; $(PYTHON) is older. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' requirements.lock > $@

test: env  ## run the quick tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: env  ## run all tests
	$(BIN)/python -m pytest -m ''

demo: env  ## simulate a small survey, fit it, report to runs/demo
	$(BIN)/astrogf demo --out runs/demo --overwrite

lint: env  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

package: env  ## build sdist and wheel, install them in a clean environment, use them from another folder
	$(BIN)/python tools/check_package.py

pythons: env  ## try every declared Python that is on this machine, with pinned and with the newest packages
	$(BIN)/python tools/check_pythons.py
	$(BIN)/python tools/check_pythons.py --newest

lock: env  ## pin newer versions into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-header \
	  --extra dev --upgrade --output-file requirements.lock pyproject.toml

docs: reference  ## build the documentation site, docs/_build/html/index.html; tutorials are executed
	$(SITE)

docs-quick: env  ## build the site as .ci/run does, with those tutorials executed that take seconds
	ASTROGF_DOCS_SKIP="$(FITS:%=tutorials/%*)" $(SITE)

reference: env  ## write the reference of configuration and commands, and the sample file, from the code
	{ sed '/^## /,$$d' docs/reference/configuration.md; $(BIN)/python -m astrogf.config; } > docs/reference/.configuration.md
	mv docs/reference/.configuration.md docs/reference/configuration.md
	{ sed '/^## /,$$d' docs/reference/commands.md; $(BIN)/python -m astrogf.commands.reference; } > docs/reference/.commands.md
	mv docs/reference/.commands.md docs/reference/commands.md
	$(BIN)/python -m astrogf.config sample > configs/.sample.toml
	mv configs/.sample.toml configs/lamost_lrs.toml

tables: env  ## rebuild every table the package ships from its pinned sources
	for script in tools/build_*.py; do $(BIN)/python $$script || exit 1; done

clean:  ## remove the environment and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
