# The commands of the project; each sets up what it needs first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Nothing that is started here calls home.
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup train test docs soak lint fuzz bench up down ui gallery lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

setup: $(READY)  ## make the virtual environment from the pinned requirements

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear $(VENV)
	# Older ones take the extras of a pinned package for another package without a pin.
	$(BIN)/pip install --quiet --upgrade 'pip>=25'
	$(BIN)/pip install --quiet --no-compile -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $(READY)

train: $(READY)  ## retrain on the bundled sample, from likes to a registered champion
	$(BIN)/recsys train --config data/sample/quick.toml

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(READY)  ## build the documentation into build/docs, without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

SOAK ?= --runs 100 --minutes 45
soak: $(READY)  ## kill runs, workers and servers at random; SOAK="--minutes 5 --seed 1" to choose
	$(BIN)/python -m tests.soak $(SOAK)

lint: $(READY)  ## check style, types and what is unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	# Asserts state invariants (B101); our own programs are started, without a shell (B404,
	# B603); B610 is about Django.
	$(BIN)/bandit --quiet --recursive recsys tasks flows --skip B101,B404,B603,B610

fuzz: $(READY)  ## look for input that breaks readers, configuration or queries (FUZZ_SECONDS each)
	$(BIN)/python -m tests.fuzz --seconds $(or $(FUZZ_SECONDS),60)

bench: $(READY)  ## measure against the peers; figures and tables go to data/output/bench
	$(BIN)/python -m tests.benchmarks

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

lock:  ## pin the newest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-strip-extras \
		--generate-hashes --no-header --group dev --quiet -o requirements.lock --upgrade pyproject.toml

clean:  ## remove the environment and everything that can be made again
	rm -rf $(VENV) data/interim data/output mlruns build *.egg-info
