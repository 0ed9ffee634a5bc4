# vmscaler: `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCKS  := requirements-build.lock requirements-dev.lock
STAMP  := $(VENV)/.installed
export PYTHONPATH := hack
# Compiled once, not in each of the many processes of the lab and the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test lint types unit flows contract e2e newest generate check-generated lock bench clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install what the checkout needs, pinned and with hashes, into .venv

$(STAMP): $(LOCKS) pyproject.toml
	@echo "setting up $(VENV) (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-build.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: $(STAMP) ## the closed loop on one screen; KEEP=1 leaves it running, FAULT=clone|boot|health shows a roll-back instead
	@$(BIN)/python -m lab demo $(if $(KEEP),--keep) $(if $(FAULT),--fault $(FAULT)) $(DEMO_ARGS)

demo-stop: $(STAMP) ## stop the data centre that `make demo KEEP=1` left running
	@$(BIN)/python -m lab stop

test: lint types check-generated $(STAMP) ## everything: lint, types, import contracts, generated files, unit, flows, contract, e2e (ONCE=1: no second try)
	$(MAKE) --no-print-directory unit
	$(BIN)/python tests/second_try.py $(if $(ONCE),--once) -- -n 2 --dist loadgroup tests/flows tests/contract tests/e2e

lint: $(STAMP) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff check --target-version py39 jenkins/vmscaler-step
	$(BIN)/ruff format --check . jenkins/vmscaler-step
	$(BIN)/lint-imports

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy operator/vmscaler hack/lab hack/bench
	$(BIN)/mypy --scripts-are-modules jenkins/vmscaler-step

unit: $(STAMP) ## tests that touch no socket
	$(BIN)/pytest -n 2 --dist worksteal tests/unit

flows: $(STAMP) ## the whole operator over fakes on virtual time: each failure, each refusal, death at every write
	$(BIN)/pytest tests/flows

contract: $(STAMP) ## one suite per port, on the fake and on the real adapter; the lab against clients we did not write
	$(BIN)/pytest tests/contract

e2e: $(STAMP) ## the whole loop on a real API server and the lab
	$(BIN)/pytest tests/e2e

newest: $(STAMP) ## compile today's Prometheus and Alertmanager (once, minutes): the suites then run on them too
	@$(BIN)/python -m lab.programs --newest

BENCHES ?= splice claims reconcile steady loop
bench: $(STAMP) ## what the product costs, as ratios in one run (hack/bench; BENCHES="splice claims" chooses, BENCH_ARGS are theirs)
	@for name in $(BENCHES); do PYTHONPATH=hack:. $(BIN)/python -m bench.$$name $(BENCH_ARGS) || exit 1; done

generate: $(STAMP) ## write the generated files (crds/, docs/api.md) from the models
	$(BIN)/python -m vmscaler.api.crd crds
	$(BIN)/python -m vmscaler.api.reference docs/api.md

check-generated: $(STAMP) ## fail when a generated file is stale
	$(BIN)/python -m vmscaler.api.crd --check crds
	$(BIN)/python -m vmscaler.api.reference --check docs/api.md

lock: ## write Python's lock files anew (needs `uv`)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group dev pyproject.toml -o requirements-dev.lock

clean: ## remove what this checkout made (not the build cache)
	rm -rf $(VENV) .lab build *.egg-info operator/*.egg-info
