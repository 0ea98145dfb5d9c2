# Everything a person runs. Each target makes the virtual environment that it needs.

PYTHON ?= python3
PORT ?= 3000
ARCHITECTURE ?= arm64
# Processes that share the tests: more than there are processors, because tests wait.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count() * 3 // 2)')

.DEFAULT_GOAL := help
.PHONY: help run run-sam logs serve test test-sam bench check lint build requirements

help: ## Show this list
	@grep -hE '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The stamp is written last: an interrupted installation is made anew.
.venv/installed: requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is %s.%s; set PYTHON=" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	touch $@

.PHONY: .venv
.venv: .venv/installed ## Make the virtual environment

# What the benchmarks' peers and plots need beside it.
.venv/bench: .venv/installed requirements-bench.txt
	.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.txt
	touch $@

# An environment of its own, because checkov holds other versions of what .venv has.
.venv-checkov/installed: requirements-checkov.txt
	$(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --require-hashes -r requirements-checkov.txt
	touch $@

run: .venv ## Run the whole application on this machine (PORT=3000, ARGS="--respond before-tasks")
	@exec .venv/bin/python -m local --port $(PORT) $(ARGS)

run-sam: .venv ## Run the same with the API in Lambda's image, by `sam local start-api` (needs Docker)
	@exec .venv/bin/python -m local.sam --port $(PORT) $(ARGS)

logs: .venv ## Show the log (ARGS="--since 2h --grep found --follow --stack STACK")
	@.venv/bin/python -m local.logs $(ARGS)

serve: .venv ## Run the routes alone under uvicorn, with the log on stdout
	@exec .venv/bin/uvicorn app.main:app --reload --port $(PORT)

test: .venv ## Run the tests, but for those that need Docker
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-sam: .venv ## Run the build in Lambda's image, by `sam local` (needs Docker, without which it is skipped)
	.venv/bin/python -m pytest -m sam -n $(WORKERS) --dist worksteal $(ARGS) tests/test_sam_local.py

# checkov passes what it cannot parse: cfn-lint comes first. Neither it nor the others need a network. The region is for
# sam alone, which wants one.
lint: .venv .venv-checkov/installed ## Run ruff, mypy, cfn-lint, sam validate and checkov
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/cfn-lint template.yaml dashboard.yaml
	SAM_CLI_TELEMETRY=0 .venv/bin/sam validate --lint --template template.yaml --region eu-central-1
	.venv-checkov/bin/checkov --quiet --compact --skip-download --framework cloudformation --file template.yaml dashboard.yaml

bench: .venv/bench ## Measure, side by side with peers (ARGS="--only cold,warm --quick --write")
	.venv/bin/python -m benchmarks $(ARGS)

# At the same time, because either waits half of it; what they need, first.
check: ## Run what CI runs, but for what needs Docker
	@$(MAKE) --no-print-directory -j2 .venv/installed .venv-checkov/installed
	@$(MAKE) --no-print-directory -j2 lint test

build: .venv ## Build the artifact for Lambda (ARCHITECTURE=arm64)
	.venv/bin/sam build --parameter-overrides Architecture=$(ARCHITECTURE)

# uv resolves for every platform and Python at once. It is needed only here.
PIN = .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --custom-compile-command "make requirements"
requirements: .venv ## Pin the newest versions again
	.venv/bin/python -m pip install --quiet uv
	$(PIN) --upgrade pyproject.toml --group dev -o requirements-dev.txt
	$(PIN) pyproject.toml -c requirements-dev.txt -o requirements.txt
	$(PIN) pyproject.toml -c requirements-dev.txt --group bench -o requirements-bench.txt
	$(PIN) --upgrade --group checkov -o requirements-checkov.txt
