"""Preloaded: what all workers import, open and make, once in the process that they are forked from.

What is only made when it is first needed, such as the application, is made here, or else each
worker would have its own. Memory of modules and of the bundle is shared by the workers as long as
nobody writes to it. The garbage collector writes to every object that it looks at, so those that
are there now are put out of its sight.
"""

import gc
import os

import recsys.bundle
import recsys.data.likes_log
import recsys.recommend.availability
import recsys.recommend.recommender
import recsys.serving.opening
import recsys.serving.server  # noqa: F401 (with all that it imports)
from recsys.base.environment import tracking_uri
from recsys.serving.champion import open_before_forking
from recsys.serving.http import prepare_app
from recsys.serving.workers import SERVED
from recsys.tracking.address import database_path

if database_path(tracking_uri()) is None:  # a local registry is read without MLflow
    import mlflow.store.model_registry.rest_store
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.rest_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 (which of them it needs)

if SERVED in os.environ:
    open_before_forking(os.environ[SERVED])

prepare_app()
gc.collect()
gc.freeze()
