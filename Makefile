# Everything a user or contributor does. `make` alone lists it.

VENV := .venv
BIN := $(VENV)/bin
#: The Python that makes the virtual environment: 3.11 or later.
PYTHON ?= $(shell command -v python3.11 || command -v python3)

#: Tests mostly wait for processes and timers, so more at a time than there are cores.
TEST_PROCESSES ?= 4
#: Browsers draw, and keep a core busy each.
BROWSER_PROCESSES ?= 2

#: Of `make soak`; SOAK has further options.
MINUTES ?= 10
BROKER ?= sqlite

# A stamp is touched when what it stands for was installed: make installs again only when a
# requirement has changed since.
SETUP := $(VENV)/.setup
SETUP_CHECK := $(VENV)/.setup-check
SETUP_DOCS := $(VENV)/.setup-docs
# What the client for Node needs, where there is Node: its tests are skipped elsewhere, and say so.
NODE_CLIENT := clients/node/node_modules/.setup
NODE_SETUP := $(if $(shell command -v node && command -v npm),$(NODE_CLIENT))

# A project of its own, with settings of its own; here the package is this repository.
SHOP := examples/shop

# Where it is set, each of the many processes compiles every module anew: twice the time to start.
unexport PYTHONDONTWRITEBYTECODE

# Without its note of what comes after it: ADR 24. Never with --quiet: --strict counts no warnings then.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.DEFAULT_GOAL := help
.PHONY: help setup demo shop run test test-long fuzz test-postgres check fmt bench soak pictures docs docs-serve clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## Make .venv and install what runs and tests it

demo: $(SETUP) ## Show what the system does, on a private copy of it; needs nothing running
	@$(BIN)/python manage.py demo

shop: $(SETUP) ## Play the story of a shop of five services, on a private copy of it: examples/shop
	@cd $(SHOP) && PYTHONPATH="$(CURDIR)" "$(CURDIR)/$(BIN)/python" manage.py play

run: $(SETUP) ## Run gateway, beat, Flower and all services here until Ctrl-C
	@$(BIN)/python manage.py run_stack

test: $(SETUP) $(NODE_SETUP) ## Run the tests; REQUIRE_BROKERS=1 fails where RabbitMQ or Redis is missing
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal -m "not long" \
		--ignore tests/browser --ignore tests/postgres --ignore tests/site
	$(BIN)/python -m pytest -q -n $(BROWSER_PROCESSES) --dist worksteal tests/browser

test-long: $(SETUP) ## Run the tests that take tens of seconds each: floods, restarts of everything, a soak
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal -m long tests

fuzz: $(SETUP) ## What tests change at random, ten times as much: 100,000 envelopes, 10,000 HTTP requests
	TEST_TIMES=10 $(BIN)/python -m pytest -q tests/unit/test_mutated_envelopes.py \
		tests/faults/test_mutated_requests.py

test-postgres: $(SETUP) ## Run the tests of what the database keeps on a PostgreSQL of their own
	.ci/with-postgres $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal \
		tests/gateway_app tests/unit/custody tests/postgres

check: $(SETUP_CHECK) ## Check format, lint, types, import layers and known dangers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive messaging gateway_app services examples
	cd $(SHOP) && PYTHONPATH="$(CURDIR)" "$(CURDIR)/$(BIN)/mypy"
	cd $(SHOP) && PYTHONPATH="$(CURDIR)" "$(CURDIR)/$(BIN)/lint-imports" --no-cache

fmt: $(SETUP_CHECK) ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(SETUP) ## Measure the bus beside raw Celery, and as it grows; BENCH=--quick to try it out
	$(BIN)/python -m tests.bench $(BENCH)

soak: $(SETUP) ## Traffic and faults in turn, then the balance; MINUTES=10 BROKER=sqlite|amqp|redis
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --broker $(BROKER) $(SOAK)

pictures: $(SETUP) ## Take the pictures in docs/pictures/ anew, of a scene on a private stack
	$(BIN)/python -m tests.pictures
	$(BIN)/python -m tests.pictures.trace

docs: $(SETUP_DOCS) ## Make the site of the documents, build/site/index.html; any warning is a failure
	@$(MKDOCS) build --strict
	$(BIN)/python -m pytest -q tests/site

docs-serve: $(SETUP_DOCS) ## Show that site on port 8001, anew with each change
	@$(MKDOCS) serve --strict --dev-addr 127.0.0.1:8001

clean: ## Remove the virtual environment and all caches; databases in var/ stay
	rm -rf $(VENV) clients/node/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@PYTHON="$(PYTHON)" sh .ci/make-venv $(VENV)

$(SETUP): requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet -r requirements.txt -c constraints.txt
	@touch $@

$(NODE_CLIENT): clients/node/package.json clients/node/package-lock.json
	@echo "Installing into clients/node/node_modules …"
	@cd clients/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error \
		&& touch node_modules/.setup || echo "without it the tests of the client for Node are skipped"

$(SETUP_CHECK): requirements-check.txt $(SETUP)
	@$(BIN)/python -m pip install --quiet -r requirements-check.txt -c constraints.txt
	@touch $@

$(SETUP_DOCS): requirements-docs.txt $(SETUP)
	@$(BIN)/python -m pip install --quiet -r requirements-docs.txt -c constraints.txt
	@touch $@
