"""Refresh: the champion's configuration fitted to today's data, without a search."""

from __future__ import annotations

from prefect import flow

from flows.as_program import run_as_program
from flows.crashed_runs import HOOKS
from flows.final_states import named_states
from flows.results import TrainingResult
from flows.retraining import retrain
from flows.run_names import run_name
from flows.run_process import own_files
from recsys.base.config import Config
from recsys.base.redaction import redact_logs
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline.outcomes import Adopted
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.store.stages import Stage
from tasks.adopt import adopt

redact_logs()


@flow(
    name="refresh",
    flow_run_name=run_name,
    persist_result=True,
    result_serializer="json",
    timeout_seconds=3 * 3600,
    **HOOKS,
)
@own_files
@named_states
def refresh(config: Config = Config()) -> TrainingResult:
    """Refit what the champion is on today's data; measured, judged, promoted as by `train`."""
    return retrain("refresh", config, _adopt)


def _adopt(
    config: Config,
    tracked: Tracked,
    details: RunDetails,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
) -> Stage[Adopted]:
    return adopt(config.storage.interim, core, holdouts, features, details.seed, tracked)


if __name__ == "__main__":
    run_as_program(refresh)
