"""Retraining and serving of "people who liked this" recommenders, usable without any server."""

from recsys.recommend.queries.filters import Filters as Filters
from recsys.serving.loading import load as load
