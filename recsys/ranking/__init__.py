"""Ranking: factors and scorers, the exact top-k of users, and metrics from one pass over it."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.ranking.factors import Factors as Factors
    from recsys.ranking.metrics import Evaluation as Evaluation
    from recsys.ranking.metrics import Interval as Interval
    from recsys.ranking.metrics import bootstrap_interval as bootstrap_interval
    from recsys.ranking.metrics import evaluate as evaluate
    from recsys.ranking.metrics import paired_bootstrap as paired_bootstrap
    from recsys.ranking.metrics import precision_at_k as precision_at_k
    from recsys.ranking.neighbours import Blended as Blended
    from recsys.ranking.neighbours import Neighbours as Neighbours
    from recsys.ranking.scorer import Scorer as Scorer
    from recsys.ranking.scorer import ScoreTable as ScoreTable
    from recsys.ranking.topk import TopK as TopK
    from recsys.ranking.topk import top_k as top_k

__all__ = [
    "Blended",
    "Evaluation",
    "Factors",
    "Interval",
    "Neighbours",
    "ScoreTable",
    "Scorer",
    "TopK",
    "bootstrap_interval",
    "evaluate",
    "paired_bootstrap",
    "precision_at_k",
    "top_k",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".factors": ["Factors"],
        ".metrics": [
            "Evaluation",
            "Interval",
            "bootstrap_interval",
            "evaluate",
            "paired_bootstrap",
            "precision_at_k",
        ],
        ".scorer": ["ScoreTable", "Scorer"],
        ".neighbours": ["Blended", "Neighbours"],
        ".topk": ["TopK", "top_k"],
    },
)
