"""Tuning: search space, proposals, trials, stop rules, studies, and the workers that train them."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.tuning.article import article_study as article_study
    from recsys.tuning.baselines import tune_baseline as tune_baseline
    from recsys.tuning.checkpoints import CheckpointStore as CheckpointStore
    from recsys.tuning.checkpoints import FileCheckpoints as FileCheckpoints
    from recsys.tuning.checkpoints import MemoryCheckpoints as MemoryCheckpoints
    from recsys.tuning.curve import CurvePoint as CurvePoint
    from recsys.tuning.curve import learning_curve as learning_curve
    from recsys.tuning.figures import draw_study as draw_study
    from recsys.tuning.figures import learning_curves_svg as learning_curves_svg
    from recsys.tuning.finishing import with_blended_users as with_blended_users
    from recsys.tuning.finishing import with_mapped_features as with_mapped_features
    from recsys.tuning.policy import Budget as Budget
    from recsys.tuning.policy import Policy as Policy
    from recsys.tuning.portfolio import PORTFOLIO as PORTFOLIO
    from recsys.tuning.problems import Problem as Problem
    from recsys.tuning.problems import load_problem as load_problem
    from recsys.tuning.problems import load_sides as load_sides
    from recsys.tuning.recorders import NullRecorder as NullRecorder
    from recsys.tuning.recorders import Recorded as Recorded
    from recsys.tuning.recorders import Recorder as Recorder
    from recsys.tuning.search import run_study as run_study
    from recsys.tuning.segments import Segment as Segment
    from recsys.tuning.segments import Trainer as Trainer
    from recsys.tuning.segments import train_whole as train_whole
    from recsys.tuning.space import Configuration as Configuration
    from recsys.tuning.space import SearchSpace as SearchSpace
    from recsys.tuning.stopping import BehindBest as BehindBest
    from recsys.tuning.stopping import Converged as Converged
    from recsys.tuning.stopping import ForecastBelowBest as ForecastBelowBest
    from recsys.tuning.stopping import Plateau as Plateau
    from recsys.tuning.stopping import StopRule as StopRule
    from recsys.tuning.stopping import forecast as forecast
    from recsys.tuning.stopping import rungs as rungs
    from recsys.tuning.study import best_by_strategy as best_by_strategy
    from recsys.tuning.study import best_of as best_of
    from recsys.tuning.study import study_strategies as study_strategies
    from recsys.tuning.trials import Rung as Rung
    from recsys.tuning.trials import Study as Study
    from recsys.tuning.trials import TrialResult as TrialResult
    from recsys.tuning.workers import Pool as Pool
    from recsys.tuning.workers import RemoteProblem as RemoteProblem
    from recsys.tuning.workers import RemoteWorkers as RemoteWorkers
    from recsys.tuning.workers import ThreadWorkers as ThreadWorkers
    from recsys.tuning.workers import Workers as Workers

__all__ = [
    "PORTFOLIO",
    "BehindBest",
    "Budget",
    "CheckpointStore",
    "Configuration",
    "Converged",
    "CurvePoint",
    "FileCheckpoints",
    "ForecastBelowBest",
    "MemoryCheckpoints",
    "NullRecorder",
    "Plateau",
    "Policy",
    "Pool",
    "Problem",
    "Recorded",
    "Recorder",
    "RemoteProblem",
    "RemoteWorkers",
    "Rung",
    "SearchSpace",
    "Segment",
    "StopRule",
    "Study",
    "ThreadWorkers",
    "Trainer",
    "TrialResult",
    "Workers",
    "article_study",
    "best_by_strategy",
    "best_of",
    "draw_study",
    "forecast",
    "learning_curve",
    "learning_curves_svg",
    "load_problem",
    "load_sides",
    "run_study",
    "rungs",
    "study_strategies",
    "train_whole",
    "tune_baseline",
    "with_blended_users",
    "with_mapped_features",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".article": ["article_study"],
        ".baselines": ["tune_baseline"],
        ".checkpoints": ["CheckpointStore", "FileCheckpoints", "MemoryCheckpoints"],
        ".curve": ["CurvePoint", "learning_curve"],
        ".figures": ["draw_study", "learning_curves_svg"],
        ".finishing": ["with_blended_users", "with_mapped_features"],
        ".policy": ["Budget", "Policy"],
        ".portfolio": ["PORTFOLIO"],
        ".problems": ["Problem", "load_problem", "load_sides"],
        ".recorders": ["NullRecorder", "Recorded", "Recorder"],
        ".search": ["run_study"],
        ".segments": ["Segment", "Trainer", "train_whole"],
        ".space": ["Configuration", "SearchSpace"],
        ".stopping": [
            "BehindBest",
            "Converged",
            "ForecastBelowBest",
            "Plateau",
            "StopRule",
            "forecast",
            "rungs",
        ],
        ".study": ["best_by_strategy", "best_of", "study_strategies"],
        ".trials": ["Rung", "Study", "TrialResult"],
        ".workers": ["Pool", "RemoteProblem", "RemoteWorkers", "ThreadWorkers", "Workers"],
    },
)
