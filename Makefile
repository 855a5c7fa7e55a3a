# Every command makes what it needs; a fresh machine wants Python >= 3.11, make and the package registry.
# PYTHON=python3.13 takes another interpreter, in a virtual environment of its own: .venv-3.13.
PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
LOCK := dev
ARGS ?=
# One more than there are cores: many tests wait for a server.
JOBS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal
PIP = -m pip --disable-pip-version-check install --quiet
INTO_RUNTIME = -m pip --disable-pip-version-check --python build/runtime/bin/python install --quiet
# What a change most often breaks, without a server or a browser.
QUICK := tests/core tests/flows tests/stores tests/serving
# For every Python and platform at once; the hashes are those of all files of a release.
COMPILE = build/uv/bin/uv pip compile pyproject.toml --quiet --no-config --upgrade --universal --python-version 3.11 \
  --generate-hashes --no-annotate --custom-compile-command 'make lock'

.PHONY: help demo quick test deep chaos check lint types contracts docs wheel lock lowest pictures bench clean
.DEFAULT_GOAL := help

help: ## show these commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "xpay-flow needs Python 3.11 or newer; try: make PYTHON=python3.13 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Dependencies by their hashes, then the project without any.
$(VENV)/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --require-hashes -r $<
	$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# `dev` holds all that `demo` does, at the same versions.
DEMO := $(if $(wildcard $(VENV)/.dev),$(VENV)/.dev,$(VENV)/.demo)

demo: $(DEMO) ## a small shop and a local xPay on this machine (ARGS=--once: one purchase, no browser)
	$(BIN)/xpay-flow demo $(ARGS)

quick: $(VENV)/.$(LOCK) ## for every save: core, flows, endpoints, and the stores in memory and SQLite
	$(PYTEST) $(QUICK) -m "not slow and not deep" $(ARGS)

test: $(VENV)/.dev ## all tests, on all cores (ARGS is passed to pytest)
	$(PYTEST) $(ARGS)

check: lint types contracts wheel ## lint, types, import contracts, wheel

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy strict and pyright
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/pyright --pythonpath $(BIN)/python

contracts: $(VENV)/.dev ## which module may import which
	$(BIN)/lint-imports

wheel: $(VENV)/.dev ## build the wheel and its bill of materials (SBOM), and look inside
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .
	$(BIN)/python tests/release/wheel_contents.py dist/*.whl
	$(BIN)/python -m venv --clear --without-pip build/runtime
	$(BIN)/python $(INTO_RUNTIME) --require-hashes -r requirements/runtime.txt
	$(BIN)/python $(INTO_RUNTIME) --no-deps dist/*.whl
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
	  --output-format JSON --output-file dist/xpay_flow.cdx.json build/runtime/bin/python

lock: $(BIN)/python ## pin anew, with hashes, what make and CI install (requirements/*.txt)
	$(BIN)/python -m venv build/uv
	build/uv/bin/python $(PIP) uv
	$(COMPILE) --all-extras --group dev --output-file requirements/dev.txt
	$(COMPILE) --all-extras --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(COMPILE) --extra demo --group build --constraint requirements/dev.txt --output-file requirements/demo.txt
	$(COMPILE) --all-extras --group build --group test --resolution lowest-direct --output-file requirements/lowest.txt
	rm -rf build/uv

lowest: ## the quick tests and every adapter on the lowest versions that pyproject.toml allows
	$(MAKE) quick LOCK=lowest VENV=.venv-lowest QUICK="$(QUICK) tests/adapters tests/sandbox tests/django/test_django_web.py"

deep: $(VENV)/.dev ## the slow proofs: the checker with any four faults, stores on servers to their full bound
	$(BIN)/xpay-flow check --bound deep
	$(BIN)/xpay-flow check --bound deep tests.checker.on_sqlite:build
	$(BIN)/python -m pytest -m deep $(ARGS)

chaos: $(VENV)/.dev ## kill processes and PostgreSQL under load for some minutes, and count (ARGS=...)
	$(BIN)/python -m tests.chaos --long $(ARGS)

docs: $(VENV)/.dev ## write the generated pages of docs/reference
	$(BIN)/python -m docs.generate

pictures: $(VENV)/.dev ## take the pictures of the README again, in Chromium
	PYTHONPATH=tests $(BIN)/python -m tests.browser.pictures

bench: $(VENV)/.dev ## figures, as ratios in one run (ARGS=--short: seconds)
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what make made
	rm -rf .venv .venv-* dist build artefacts
