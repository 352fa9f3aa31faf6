# Everything a newcomer needs: `make demo`, then `make test`.  Both set up what they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test proof faults bench lint types format docs pages lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/run  ## build, sign, verify and take apart a small gateway's package
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo.sh

test: $(VENV)/test  ## run the tests; or COVERAGE=1, to measure which branches they take
	$(BIN)/python -m tests.support.run $(if $(COVERAGE),coverage,test)

proof: $(VENV)/test  ## run what takes longer: exhaustive sweeps, fuzzing, large files; or PART=crash of it
	$(BIN)/python -m tests.support.run $(or $(PART),proof)

faults: $(VENV)/test  ## break the program in many places; the tests have to find it; or ONLY=voucher
	$(BIN)/python -m tests.seeded_faults $(ONLY)

bench: $(VENV)/test  ## print the figures of docs/performance.md, as ratios
	$(BIN)/python tests/benchmarks/run.py

lint: $(VENV)/test  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test  ## check types
	$(BIN)/mypy

format: $(VENV)/test  ## fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs  ## build the pages into a site, build/docs; a broken link is an error
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

pages: $(VENV)/run  ## regenerate the generated parts of README and docs
	@$(BIN)/python -m tests.documents.refresh --write

# Extras stay in the locks: an installer that checks hashes takes "coverage[toml]" only from such a line.
COMPILE := pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --no-strip-extras \
	--no-header --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock:  ## pin the newest versions of all dependencies (needs pip-tools)
	$(COMPILE) --all-build-deps --output-file=.requirements/run.lock pyproject.toml
	$(COMPILE) --all-build-deps --extra=test --output-file=.requirements/test.lock pyproject.toml
	$(COMPILE) --extra=docs --constraint=.requirements/run.lock --output-file=.requirements/docs.lock pyproject.toml
	$(COMPILE) --constraint=.requirements/run.lock --output-file=.requirements/gateway.lock .requirements/gateway.in

clean:  ## remove all that the targets above made
	rm -rf $(VENV) .demo .cache build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

# The environment: exact versions with their hashes, then the project itself, in place.
$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spkg wants Python 3.11 or newer; name one: make PYTHON=python3.11")'
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run: $(VENV)/python .requirements/run.lock pyproject.toml
	@$(PIP) install --require-hashes -r .requirements/run.lock
	@$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@$(BIN)/python -m compileall -q spkg vouchers
	@touch $@

$(VENV)/test: $(VENV)/run .requirements/test.lock
	@$(PIP) install --require-hashes -r .requirements/test.lock
	@touch $@

$(VENV)/docs: $(VENV)/run .requirements/docs.lock
	@$(PIP) install --require-hashes -r .requirements/docs.lock
	@touch $@
