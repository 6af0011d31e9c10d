# Every CI step is a target here. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := svc_runtime ingress_gateway capture_svc attribution_svc analytics_svc auth_svc rule_language enrichment macro_language trellisctl
PROTOS := $(shell find proto -name '*.proto' | sort)

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# The virtual environments are made from the pinned locks; a changed lock makes them again.
$(VENV)/run.stamp: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@ $(VENV)/run.stamp

.PHONY: setup
setup: $(VENV)/dev.stamp ## Make the development environment

.PHONY: run
run: $(VENV)/run.stamp ## Start the whole mesh with embedded stores and the demo organisation
	$(BIN)/trellis up --demo

.PHONY: test
test: $(VENV)/dev.stamp ## Run every test that needs no external server
	$(BIN)/python -m pytest -q

.PHONY: soak
soak: $(VENV)/dev.stamp ## Run the fault tests for long (ROUNDS=200)
	TRELLIS_FAULT_ROUNDS=$${ROUNDS:-200} $(BIN)/python -m pytest -q tests/faults

.PHONY: bench
bench: $(VENV)/dev.stamp ## Measure; prints a table and writes build/bench.json
	$(BIN)/python -m tests.bench

.PHONY: lint
lint: $(VENV)/dev.stamp ## Check style, imports between services and the contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

.PHONY: format
format: $(VENV)/dev.stamp ## Format the code and the contracts
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

.PHONY: types
types: $(VENV)/dev.stamp ## Check types
	$(BIN)/mypy

.PHONY: proto
proto: $(VENV)/dev.stamp ## Generate gen/ from proto/
	rm -rf gen/trellis
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=proto --python_out=gen --grpc_python_out=gen \
		--mypy_out=gen --mypy_grpc_out=gen $(PROTOS)

.PHONY: proto-check
proto-check: proto ## Fail when gen/ is not what proto/ makes
	git diff --exit-code -- gen
	test -z "$$(git status --porcelain -- gen)"

.PHONY: breaking
breaking: $(VENV)/dev.stamp ## Check the contracts against BASE for breaking changes
	$(BIN)/buf breaking --against ".git#ref=$${BASE:-HEAD~1}"

.PHONY: lock
lock: ## Resolve the dependencies again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" \
		--extra dev --quiet --upgrade pyproject.toml --output-file requirements-dev.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" \
		--extra embedded --quiet --constraint requirements-dev.lock pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" \
		--extra server --quiet --constraint requirements-dev.lock pyproject.toml --output-file requirements-server.lock

.PHONY: ci
ci: test lint types proto-check ## Everything that CI runs

.PHONY: clean
clean: ## Remove what was made, the data directory excepted
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
