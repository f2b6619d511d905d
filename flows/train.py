"""Train: likes and tags in, a tuned, measured, registered recommender out."""

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
from recsys.pipeline.outcomes import Tuned
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.store.stages import Stage
from recsys.tuning.configured import require_sound_spaces
from tasks.tune import tune

redact_logs()


@flow(
    name="train",
    flow_run_name=run_name,
    persist_result=True,
    result_serializer="json",
    timeout_seconds=12 * 3600,
    **HOOKS,
)
@own_files
@named_states
def train(config: Config = Config()) -> TrainingResult:
    """Retrain on today's data, measure, register, and promote what is good enough."""
    require_sound_spaces(config)  # a server has read it as a form
    return retrain("train", config, _search)


def _search(
    config: Config,
    tracked: Tracked,
    details: RunDetails,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
) -> Stage[Tuned]:
    article = config.article if config.protocol == "article" else None
    interim = config.storage.interim
    return tune(interim, core, holdouts, features, config.search, article, tracked, details)


if __name__ == "__main__":
    run_as_program(train)
