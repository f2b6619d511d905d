"""The pipeline: the stages of a run, its steps in MLflow, batches of lists, and the report."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.pipeline.adoption import adopt as adopt
    from recsys.pipeline.adoption import adopted_configuration as adopted_configuration
    from recsys.pipeline.adoption import champion_manifest as champion_manifest
    from recsys.pipeline.adoption import warm_start as warm_start
    from recsys.pipeline.backtest_report import write_backtest as write_backtest
    from recsys.pipeline.backtesting import Backtest as Backtest
    from recsys.pipeline.backtesting import backtest as backtest
    from recsys.pipeline.batch import champion_source as champion_source
    from recsys.pipeline.batch import point as point
    from recsys.pipeline.batch import recommend as recommend
    from recsys.pipeline.drifting import drift as drift
    from recsys.pipeline.evaluation import evaluate as evaluate
    from recsys.pipeline.experiments import log_curve as log_curve
    from recsys.pipeline.fitting import fit as fit
    from recsys.pipeline.fitting import refit as refit
    from recsys.pipeline.gating import gate as gate
    from recsys.pipeline.outcomes import Adopted as Adopted
    from recsys.pipeline.outcomes import Chosen as Chosen
    from recsys.pipeline.outcomes import Drifted as Drifted
    from recsys.pipeline.outcomes import Evaluated as Evaluated
    from recsys.pipeline.outcomes import Fitted as Fitted
    from recsys.pipeline.outcomes import Judged as Judged
    from recsys.pipeline.outcomes import Listed as Listed
    from recsys.pipeline.outcomes import Reason as Reason
    from recsys.pipeline.outcomes import Reference as Reference
    from recsys.pipeline.outcomes import Rival as Rival
    from recsys.pipeline.outcomes import Source as Source
    from recsys.pipeline.outcomes import TrainingStages as TrainingStages
    from recsys.pipeline.outcomes import Tuned as Tuned
    from recsys.pipeline.preparation import check_input as check_input
    from recsys.pipeline.preparation import encode as encode
    from recsys.pipeline.preparation import ingest as ingest
    from recsys.pipeline.preparation import load_core as load_core
    from recsys.pipeline.preparation import locate_data as locate_data
    from recsys.pipeline.preparation import sources_of as sources_of
    from recsys.pipeline.preparation import split as split
    from recsys.pipeline.preparation import threshold as threshold
    from recsys.pipeline.promotion import Announcement as Announcement
    from recsys.pipeline.promotion import Decision as Decision
    from recsys.pipeline.promotion import Ending as Ending
    from recsys.pipeline.promotion import announcement as announcement
    from recsys.pipeline.promotion import decide as decide
    from recsys.pipeline.promotion import promote as promote
    from recsys.pipeline.publishing import Published as Published
    from recsys.pipeline.publishing import publish as publish
    from recsys.pipeline.registration import Registered as Registered
    from recsys.pipeline.registration import register as register
    from recsys.pipeline.report import Link as Link
    from recsys.pipeline.report import Report as Report
    from recsys.pipeline.report import Section as Section
    from recsys.pipeline.report import Table as Table
    from recsys.pipeline.report_sections import build as build
    from recsys.pipeline.report_sections import examples as examples
    from recsys.pipeline.rivals import find_reference as find_reference
    from recsys.pipeline.rivals import find_rival as find_rival
    from recsys.pipeline.tracked import RunDetails as RunDetails
    from recsys.pipeline.tracked import Tracked as Tracked
    from recsys.pipeline.tuning import open_study as open_study
    from recsys.pipeline.tuning import tune as tune

__all__ = [
    "Adopted",
    "Announcement",
    "Backtest",
    "Chosen",
    "Decision",
    "Drifted",
    "Ending",
    "Evaluated",
    "Fitted",
    "Judged",
    "Link",
    "Listed",
    "Published",
    "Reason",
    "Reference",
    "Registered",
    "Report",
    "Rival",
    "RunDetails",
    "Section",
    "Source",
    "Table",
    "Tracked",
    "TrainingStages",
    "Tuned",
    "adopt",
    "adopted_configuration",
    "announcement",
    "backtest",
    "build",
    "champion_manifest",
    "champion_source",
    "check_input",
    "decide",
    "drift",
    "encode",
    "evaluate",
    "examples",
    "find_reference",
    "find_rival",
    "fit",
    "gate",
    "ingest",
    "load_core",
    "locate_data",
    "log_curve",
    "open_study",
    "point",
    "promote",
    "publish",
    "recommend",
    "refit",
    "register",
    "sources_of",
    "split",
    "threshold",
    "tune",
    "warm_start",
    "write_backtest",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".adoption": ["adopt", "adopted_configuration", "champion_manifest", "warm_start"],
        ".backtest_report": ["write_backtest"],
        ".backtesting": ["Backtest", "backtest"],
        ".batch": ["champion_source", "point", "recommend"],
        ".drifting": ["drift"],
        ".evaluation": ["evaluate"],
        ".experiments": ["log_curve"],
        ".fitting": ["fit", "refit"],
        ".gating": ["gate"],
        ".rivals": ["find_reference", "find_rival"],
        ".outcomes": [
            "Adopted",
            "Chosen",
            "Drifted",
            "Evaluated",
            "Fitted",
            "Judged",
            "Listed",
            "Reason",
            "Reference",
            "Rival",
            "Source",
            "TrainingStages",
            "Tuned",
        ],
        ".preparation": [
            "check_input",
            "encode",
            "ingest",
            "load_core",
            "locate_data",
            "sources_of",
            "split",
            "threshold",
        ],
        ".promotion": ["Announcement", "Decision", "Ending", "announcement", "decide", "promote"],
        ".publishing": ["Published", "publish"],
        ".registration": ["Registered", "register"],
        ".report": ["Link", "Report", "Section", "Table"],
        ".report_sections": ["build", "examples"],
        ".tracked": ["RunDetails", "Tracked"],
        ".tuning": ["open_study", "tune"],
    },
)
