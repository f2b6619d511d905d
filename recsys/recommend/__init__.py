"""Recommending: the queries that a trained model answers; NumPy and PyArrow alone."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.recommend.availability import Availability as Availability
    from recsys.recommend.availability import WatchedAvailability as WatchedAvailability
    from recsys.recommend.availability import read_availability as read_availability
    from recsys.recommend.index import Index as Index
    from recsys.recommend.index import build_index as build_index
    from recsys.recommend.index import load_index as load_index
    from recsys.recommend.queries.answers import Answer as Answer
    from recsys.recommend.queries.answers import Ranked as Ranked
    from recsys.recommend.queries.explanation import Explanation as Explanation
    from recsys.recommend.queries.explanation import Part as Part
    from recsys.recommend.queries.feature_lookup import Feature as Feature
    from recsys.recommend.queries.feature_lookup import FeatureLookup as FeatureLookup
    from recsys.recommend.queries.filters import Filters as Filters
    from recsys.recommend.queries.tag_similarity import Tags as Tags
    from recsys.recommend.queries.view import BundleView as BundleView
    from recsys.recommend.recommender import Recommender as Recommender

__all__ = [
    "Answer",
    "Availability",
    "BundleView",
    "Explanation",
    "Feature",
    "FeatureLookup",
    "Filters",
    "Index",
    "Part",
    "Ranked",
    "Recommender",
    "Tags",
    "WatchedAvailability",
    "build_index",
    "load_index",
    "read_availability",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".availability": ["Availability", "WatchedAvailability", "read_availability"],
        ".index": ["Index", "build_index", "load_index"],
        ".queries.answers": ["Answer", "Ranked"],
        ".queries.explanation": ["Explanation", "Part"],
        ".queries.feature_lookup": ["Feature", "FeatureLookup"],
        ".queries.filters": ["Filters"],
        ".queries.tag_similarity": ["Tags"],
        ".queries.view": ["BundleView"],
        ".recommender": ["Recommender"],
    },
)
