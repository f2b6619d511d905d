"""Everything that a training run imports, for the process that runs are forked from."""

import os

os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["MLFLOW_LOGGING_LEVEL"] = "CRITICAL"

import implicit.als
import lightfm
import matplotlib.pyplot
import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_store
import skopt

import flows.cli
import flows.train

__all__ = ["flows", "implicit", "lightfm", "matplotlib", "mlflow", "skopt"]
