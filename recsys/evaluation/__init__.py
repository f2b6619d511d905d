"""Evaluation: holdouts measured, cold start, tag suggestion, lists and churn, the gate."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.evaluation.beyond_precision import (
        measure_beyond_precision as measure_beyond_precision,
    )
    from recsys.evaluation.churn import Churn as Churn
    from recsys.evaluation.churn import measure_churn as measure_churn
    from recsys.evaluation.cold_start import ColdStartHoldout as ColdStartHoldout
    from recsys.evaluation.cold_start import withhold as withhold
    from recsys.evaluation.comparison import FittedStrategy as FittedStrategy
    from recsys.evaluation.comparison import StrategyFits as StrategyFits
    from recsys.evaluation.comparison import TriedStrategy as TriedStrategy
    from recsys.evaluation.comparison import compare as compare
    from recsys.evaluation.drift import find_drift as find_drift
    from recsys.evaluation.few_likes import measure_few_likes as measure_few_likes
    from recsys.evaluation.gate import Check as Check
    from recsys.evaluation.gate import Condition as Condition
    from recsys.evaluation.gate import Evidence as Evidence
    from recsys.evaluation.gate import Guarded as Guarded
    from recsys.evaluation.gate import Verdict as Verdict
    from recsys.evaluation.gate import judge as judge
    from recsys.evaluation.gone import Gone as Gone
    from recsys.evaluation.gone import find_gone as find_gone
    from recsys.evaluation.holdouts import Estimate as Estimate
    from recsys.evaluation.holdouts import Measured as Measured
    from recsys.evaluation.holdouts import as_leaderboard as as_leaderboard
    from recsys.evaluation.holdouts import differences as differences
    from recsys.evaluation.holdouts import measure as measure
    from recsys.evaluation.lists import attainable_coverage as attainable_coverage
    from recsys.evaluation.lists import evenly_spaced as evenly_spaced
    from recsys.evaluation.lists import jaccard_overlap as jaccard_overlap
    from recsys.evaluation.lists import mean_list_overlap as mean_list_overlap
    from recsys.evaluation.lists import top_lists as top_lists
    from recsys.evaluation.metric_names import HEADLINE as HEADLINE
    from recsys.evaluation.metric_names import METRICS as METRICS
    from recsys.evaluation.metric_names import Metric as Metric
    from recsys.evaluation.metric_names import leaderboard_metrics as leaderboard_metrics
    from recsys.evaluation.metric_names import metric_tags as metric_tags
    from recsys.evaluation.metric_names import strategy_metrics as strategy_metrics
    from recsys.evaluation.non_inferiority import PairedDifference as PairedDifference
    from recsys.evaluation.non_inferiority import paired_difference as paired_difference
    from recsys.evaluation.segments import Segment as Segment
    from recsys.evaluation.segments import Segments as Segments
    from recsys.evaluation.segments import gains_and_losses as gains_and_losses
    from recsys.evaluation.segments import measure_segments as measure_segments
    from recsys.evaluation.tag_suggestion import measure_suggestions as measure_suggestions

__all__ = [
    "HEADLINE",
    "METRICS",
    "Check",
    "Churn",
    "ColdStartHoldout",
    "Condition",
    "Estimate",
    "Evidence",
    "FittedStrategy",
    "Gone",
    "Guarded",
    "Measured",
    "Metric",
    "PairedDifference",
    "Segment",
    "Segments",
    "StrategyFits",
    "TriedStrategy",
    "Verdict",
    "as_leaderboard",
    "attainable_coverage",
    "compare",
    "differences",
    "evenly_spaced",
    "find_drift",
    "find_gone",
    "gains_and_losses",
    "jaccard_overlap",
    "judge",
    "leaderboard_metrics",
    "mean_list_overlap",
    "measure",
    "measure_beyond_precision",
    "measure_churn",
    "measure_few_likes",
    "measure_segments",
    "measure_suggestions",
    "metric_tags",
    "paired_difference",
    "strategy_metrics",
    "top_lists",
    "withhold",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".drift": ["find_drift"],
        ".few_likes": ["measure_few_likes"],
        ".beyond_precision": ["measure_beyond_precision"],
        ".churn": ["Churn", "measure_churn"],
        ".cold_start": ["ColdStartHoldout", "withhold"],
        ".comparison": ["FittedStrategy", "StrategyFits", "TriedStrategy", "compare"],
        ".gate": ["Check", "Condition", "Evidence", "Guarded", "Verdict", "judge"],
        ".gone": ["Gone", "find_gone"],
        ".segments": ["Segment", "Segments", "gains_and_losses", "measure_segments"],
        ".holdouts": ["Estimate", "Measured", "as_leaderboard", "differences", "measure"],
        ".lists": [
            "attainable_coverage",
            "evenly_spaced",
            "jaccard_overlap",
            "mean_list_overlap",
            "top_lists",
        ],
        ".metric_names": [
            "HEADLINE",
            "METRICS",
            "Metric",
            "leaderboard_metrics",
            "metric_tags",
            "strategy_metrics",
        ],
        ".non_inferiority": ["PairedDifference", "paired_difference"],
        ".tag_suggestion": ["measure_suggestions"],
    },
)
