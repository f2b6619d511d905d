# The commands of the project; each sets up what it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := uv==0.13.9
# Two environments in one folder: what training and serving need, and what tests, checks and
# documents need besides.
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

# Nothing that is started here calls home.
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Container images and build machines set it; without bytecode each command takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev train test docs soak lint fuzz bench up down ui gallery lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

# uv installs in half the time that pip needs. Where it cannot be had, or does not reach an index that
# pip is configured for, pip installs the same files by the same hashes. uv is as large as SciPy and
# goes when it is done.
define install
$(BIN)/pip install --quiet --target $(VENV)/uv $(UV) && \
	$(VENV)/uv/bin/uv pip install --quiet --system-certs --python $(BIN)/python $(1) || \
	$(BIN)/pip install --quiet --no-compile $(1)
rm -rf $(VENV)/uv
endef

setup: $(READY)  ## make the virtual environment that training and serving need

setup-dev: $(READY_DEV)  ## add what tests, checks and documents need

$(VENV)/.locked: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear $(VENV)
	# Older ones take the extras of a pinned package for another package without a pin.
	$(BIN)/pip install --quiet --upgrade 'pip>=25'
	$(call install,-r requirements.lock)
	# What venv brings along for building, which pip does elsewhere.
	$(BIN)/pip uninstall -qq --yes setuptools
	# An eighth of the environment is tests that packages bring of themselves.
	find $(VENV)/lib -depth -type d -path '*/site-packages/*' -name tests -exec rm -r {} +
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib
	touch $@

$(READY): $(VENV)/.locked pyproject.toml $(wildcard recsys/models/kernel*.[ch]) recsys/ranking/sums.c
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-compile --no-deps --editable .
	$(BIN)/python -m compileall -q -j 0 recsys tasks flows
	# A first run copies them, and is several seconds sooner at its first stage.
	-$(BIN)/python -m flows.database_templates
	touch $@

$(READY_DEV): $(VENV)/.locked requirements-dev.lock | $(READY)
	$(call install,-r requirements.lock -r requirements-dev.lock)
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib tests
	touch $@

train: $(READY)  ## retrain on the bundled sample, from likes to a registered champion
	$(BIN)/recsys train --config data/sample/quick.toml

test: $(READY_DEV)  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(READY_DEV)  ## build the documentation into build/docs, without a network
	# Not --quiet: it drops warnings before --strict counts them.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

SOAK ?= --runs 100 --minutes 45
soak: $(READY_DEV)  ## kill runs, workers and servers at random; SOAK="--minutes 5 --seed 1" to choose
	$(BIN)/python -m tests.soak $(SOAK)

lint: $(READY_DEV)  ## check style, types and what is unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	# Asserts state invariants (B101); our own programs are started, without a shell (B404,
	# B603); B610 is about Django.
	$(BIN)/bandit --quiet --recursive recsys tasks flows --skip B101,B404,B603,B610

fuzz: $(READY_DEV)  ## look for input that breaks readers, configuration or queries (FUZZ_SECONDS each)
	$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),60)

bench: $(READY_DEV)  ## measure against the peers (or one thing: make bench night); into data/output/bench
	$(BIN)/python -m tests.benchmarks $(MEASURED)

# The names behind "bench" are no targets.
MEASURED = $(if $(filter bench,$(firstword $(MAKECMDGOALS))),$(wordlist 2,99,$(MAKECMDGOALS)))
ifneq ($(strip $(MEASURED)),)
.PHONY: $(MEASURED)
$(MEASURED): bench
	@:
endif

up: $(READY)  ## start a Prefect server, MLflow and a worker here, and deploy
	$(BIN)/recsys up

down: $(READY)  ## end what `make up` started
	$(BIN)/recsys down

ui: $(READY)  ## open MLflow on what training wrote, at http://127.0.0.1:5000
	@test -f mlruns/mlflow.db || { echo "no mlruns/mlflow.db yet: run make train first" >&2; exit 1; }
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --host 127.0.0.1 --port 5000 \
		--workers 1 --backend-store-uri sqlite:///mlruns/mlflow.db

gallery: $(READY)  ## look at what the champion has learned, at http://127.0.0.1:8600
	@test -f mlruns/mlflow.db || { echo "no mlruns/mlflow.db yet: run make train first" >&2; exit 1; }
	$(BIN)/recsys gallery

# Three files: what training and serving need; what a team's servers need besides (PostgreSQL, an
# S3-like store); what tests, checks and documents need besides. What the first pins wherever it is
# installed, the others leave out. Pins stay as they are where they still do.
COMPILE = $(VENV)/lock/bin/uv pip compile --universal --python-version 3.11 --no-emit-index-url \
	--no-strip-extras --generate-hashes --no-header --quiet $(LOCK) pyproject.toml
BESIDES = -c requirements.lock $$(sed -nE 's/^([a-zA-Z0-9._-]+)(\[[^]]*\])?==[^; ]+ .$$/--no-emit-package \1/p' requirements.lock)
lock:  ## pin what pyproject.toml allows; LOCK=--upgrade takes the newest versions
	$(PYTHON) -m venv --clear $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet $(UV)
	$(COMPILE) -o requirements.lock
	$(COMPILE) -o requirements-team.lock --extra postgres --extra s3 $(BESIDES)
	$(COMPILE) -o requirements-dev.lock --group dev -c requirements-team.lock $(BESIDES)
	rm -rf $(VENV)/lock

clean:  ## remove the environment and everything that can be made again
	rm -rf $(VENV) data/interim data/output mlruns build *.egg-info recsys/models/_kernel.*
