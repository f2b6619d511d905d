"""Preloaded: what all workers import, imported once in the process that they are forked from.

Memory of modules is shared by the workers as long as nobody writes to it. The garbage collector
writes to every object that it looks at, so those that are there now are put out of its sight.
"""

import gc

import mlflow.store.model_registry.rest_store
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.rest_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 (which of them the registry needs)

import recsys.bundle
import recsys.data.likes_log
import recsys.recommend.availability
import recsys.recommend.recommender
import recsys.serving.server  # noqa: F401 (with all that it imports)

gc.collect()
gc.freeze()
