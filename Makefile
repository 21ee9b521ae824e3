# Everything runs in .venv, which is built once and left alone until a dependency changes.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CAPACITY := $(BIN)/capacity
SPARK := .capacity/spark/bin

# The demo's server and the notebooks' one live in the checkout; neither is the user's own.
DEMO := CAPACITY_HOME=$(CURDIR)/.capacity/demo
SEEDED := CAPACITY_HOME=$(CURDIR)/.capacity/seeded CAPACITY_AS_OF=2026-11-01T00:00:00Z
OWN := env -u CAPACITY_DSN -u PGSERVICE -u PGHOST -u PGHOSTADDR -u PGPORT -u PGDATABASE

# Jupyter wants to be told that running as root is meant.
ROOT_MAY := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help venv demo test test-spark faults-outbox lab lint format bench bench-reports notebooks lock clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.built  ## build .venv, unless it is up to date

$(VENV)/.built: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: venv  ## a private server, thirteen simulated months, this host measured, four reports
	@export $(DEMO); capacity="$(OWN) $(CAPACITY)"; set -e; \
	$$capacity up; \
	$$capacity deploy; \
	$$capacity simulate; \
	$$capacity analyze --history --thresholds > /dev/null; \
	$$capacity analyze --history --engine local > /dev/null; \
	$$capacity capture --times 5 --every 2 > /dev/null; \
	$$capacity analyze --tenant SYSTEM > /dev/null; \
	$$capacity evaluate --since 60d || test $$? -eq 3; \
	$$capacity status; \
	$$capacity report --site reports/site || test $$? -eq 3; \
	echo; echo "Look at $(CURDIR)/reports/site/index.html"; \
	echo "make lab opens the notebooks on this database; CAPACITY_HOME=.capacity/demo $(CAPACITY) down stops its server."

test: venv  ## every test; says what it skipped and how to install what is missing
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder

test-spark: venv  ## the map on Spark, in an environment of its own; needs Java 17 or newer
	@test -x $(SPARK)/python || $(PYTHON) -m venv $(SPARK:/bin=)
	$(SPARK)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock pyspark==4.3.0
	$(SPARK)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	CAPACITY_NO_SKIP=1 $(SPARK)/python -m pytest tests/analysis/test_spark.py

faults-outbox: venv  ## kill the sender of notifications 50 times; nothing is lost, and what comes twice bears one key
	$(OWN) $(BIN)/python -m tests.faults.outbox

lab: venv  ## JupyterLab on the demo's database
	@export $(DEMO); $(OWN) $(CAPACITY) up > /dev/null && $(OWN) $(BIN)/jupyter lab $(ROOT_MAY) notebooks

lint: venv  ## ruff, its formatter, and mypy --strict on the package
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: venv  ## let ruff put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: venv  ## measure the engine beside others, imports, analyses, the map; write benchmarks/results.md
	$(BIN)/python benchmarks/run.py --write benchmarks/results.md

bench-reports: venv  ## twelve reports by run-due beside a plain loop of papermill and nbconvert; prints their ratio
	$(BIN)/python benchmarks/report_fanout.py

notebooks: venv  ## execute the notebooks on a fresh seeded database and keep their outputs
	@export $(SEEDED); capacity="$(OWN) $(CAPACITY)"; set -e; \
	$$capacity down > /dev/null; rm -rf .capacity/seeded; \
	trap "$$capacity down > /dev/null" EXIT; \
	$$capacity up; \
	$$capacity deploy; \
	$$capacity simulate --seed 7 --as-of "$$CAPACITY_AS_OF"; \
	$$capacity analyze --history --thresholds > /dev/null; \
	$$capacity analyze --history --engine local > /dev/null; \
	$$capacity evaluate --since 60d > /dev/null || test $$? -eq 3; \
	$(OWN) $(BIN)/jupyter nbconvert --log-level WARN --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

lock: venv  ## write the versions in .venv into requirements.lock
	@{ sed -n 1p requirements.lock; $(BIN)/python -m pip freeze --all --exclude-editable | grep -viE '^(pip|setuptools|wheel)=='; } \
	  > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:  ## stop the demo's server and remove all that was made, but .venv
	@for home in demo seeded; do \
	  if test -d .capacity/$$home; then CAPACITY_HOME=$(CURDIR)/.capacity/$$home $(OWN) $(CAPACITY) down; fi; done
	rm -rf .capacity reports/site notebooks/.ipynb_checkpoints build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find capacity_kit tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
