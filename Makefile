# Every command makes what it needs; a fresh machine wants Python >= 3.11, make and the package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo test deep chaos check lint types contracts docs wheel pictures bench clean
.DEFAULT_GOAL := help

help: ## show these commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "xpay-flow needs Python 3.11 or newer; say: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## a small shop and a local xPay on this machine (ARGS=--once: one purchase, no browser)
	$(BIN)/xpay-flow demo $(ARGS)

test: $(VENV)/.dev ## the tests, on all cores (ARGS is passed to pytest)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

check: lint types contracts wheel ## lint, types, import contracts, wheel

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy strict and pyright
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/pyright

contracts: $(VENV)/.dev ## which module may import which
	$(BIN)/lint-imports

wheel: $(VENV)/.dev ## build the wheel and look inside
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python tests/wheel_contents.py dist/*.whl

deep: $(VENV)/.dev ## the model checker with any four faults, and the stores on servers to their full bound
	$(BIN)/xpay-flow check --bound deep
	$(BIN)/xpay-flow check --bound deep tests.checker.on_sqlite:build
	$(BIN)/python -m pytest -m deep $(ARGS)

chaos: $(VENV)/.dev ## kill processes and PostgreSQL under load for some minutes, and count (ARGS=...)
	$(BIN)/python -m tests.chaos --long $(ARGS)

docs: $(VENV)/.dev ## write the generated pages of docs/reference
	$(BIN)/python -m docs.generate

pictures: $(VENV)/.dev ## take the pictures of the README again, in Chromium
	$(BIN)/python -m tests.browser.pictures

bench: $(VENV)/.dev ## figures, as ratios in one run (ARGS=--short: seconds)
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what make made
	rm -rf $(VENV) dist build artefacts
