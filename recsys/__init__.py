"""Retraining and serving of "people who liked this" recommenders, usable without any server."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.recommend.queries.filters import Filters as Filters
    from recsys.recommend.recommender import Recommender as Recommender
    from recsys.serving.loading import load as load

__all__ = ["Filters", "Recommender", "load"]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".recommend.queries.filters": ["Filters"],
        ".recommend.recommender": ["Recommender"],
        ".serving.loading": ["load"],
    },
)
