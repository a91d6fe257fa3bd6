# Start here: make run. `make help` says what else there is. Needs make, Python 3.11+, no more.

VENV ?= .venv
TORCH ?= 1
PORT ?=
EXIT ?=
BENCH ?= overhead engine account faults

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Checks that do not depend on each other, and so run side by side.
CHECKS := lint types imports tests
# Tests that simulate for seconds, start a Ray of their own, or programs of the system: plain `pytest` leaves them out.
SLOW_TESTS := $(wildcard tests/studies tests/k8s tests/monitoring tests/integration tests/e2e)

export PYTHON VENV
.DEFAULT_GOAL := help
.PHONY: help run check $(CHECKS) test audit bench docs clean
ifeq ($(MAKELEVEL),0)
.NOTPARALLEL: # two installs into one environment would meet; `check` goes parallel by itself
endif

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo "  make run EXIT=1      stop after the demo dialogue      make run PORT=8080   serve on that port"
	@echo "  make test TORCH=0    without torch; what needs it is skipped"
	@echo "  make bench BENCH=overhead       PYTHON=python3.11: make the environment with it"

# --- environments: each is remade when pyproject.toml changes, and not otherwise

$(VENV)/.ready-run: pyproject.toml tools/setup.sh
	@sh tools/setup.sh run
	@touch $@

$(VENV)/.ready-dev: pyproject.toml tools/setup.sh
	@sh tools/setup.sh dev
	@touch $@ $(VENV)/.ready-run

$(VENV)/.ready-torch: $(VENV)/.ready-dev
	@sh tools/setup.sh torch
	@touch $@

# --- what to do

run: $(VENV)/.ready-run ## answer one dialogue on a small model, then serve
	exec $(BIN)/coordsvc up deployments/local.yaml --demo $(if $(EXIT),--exit) $(if $(PORT),--port $(PORT))

check: $(VENV)/.ready-dev ## lint, types, imports and fast tests, in under a minute
	@rm -f $(VENV)/.failed-*
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=target $(CHECKS) || { \
	  echo "check: failed:" $$(cd $(VENV) && ls -d .failed-* | sed 's/.failed-//'); exit 1; }
	@echo "check: all is well"

# step(name, command): run it, say how long it took, leave a mark if it fails
define step
	@began=$$(date +%s); if $(2); then verdict=passed; else verdict=FAILED; touch $(VENV)/.failed-$(1); fi; \
	echo "check: $(1) $$verdict after $$(($$(date +%s) - began)) s"; echo; [ $$verdict = passed ]
endef

lint: $(VENV)/.ready-dev
	$(call step,lint,$(BIN)/ruff check --quiet && $(BIN)/ruff format --check --quiet)

types: $(VENV)/.ready-dev
	$(call step,types,$(BIN)/mypy)

imports: $(VENV)/.ready-dev
	$(call step,imports,$(BIN)/lint-imports --no-logo)

tests: $(VENV)/.ready-dev
	$(call step,tests,$(PYTEST) --quiet --numprocesses 2)

test: $(VENV)/.ready-dev $(if $(filter-out 0,$(TORCH)),$(VENV)/.ready-torch) check ## everything that needs no special hardware
	$(PYTEST) --durations=10 $(SLOW_TESTS)

audit: $(VENV)/.ready-dev ## ask whether what the images install has known faults; needs the network
	@$(BIN)/python tools/audit.py

bench: $(VENV)/.ready-run ## measure this machine; one JSON object a line
	@for name in $(BENCH); do $(BIN)/coordsvc bench $$name --json || exit 1; done

docs: $(VENV)/.ready-dev ## draw docs/reference from the code
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/prometheus_rule.py
	$(BIN)/python tools/grafana.py

clean: ## remove the environment and what tools remember
	rm -rf $(VENV) $(VENV).log build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
