"""Split: likes held out for validation and test, and cold items chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsys.base.config import Config
from recsys.data.outcomes import HeldOut, Ingested, Thresholded
from recsys.pipeline import preparation, splitting
from recsys.store.stages import Stage, StageFunction
from tasks.caching import cached_task

_TASKS: dict[StageFunction[..., Any], Callable[..., Stage[Any]]] = {
    preparation.split: cached_task(preparation.split),
    splitting.split_by_time: cached_task(splitting.split_by_time),
    splitting.split_by_files: cached_task(splitting.split_by_files, retries=3),
}


def split(
    interim: str, data: Stage[Ingested], core: Stage[Thresholded], config: Config
) -> Stage[HeldOut]:
    """The split that the configuration asks for."""

    def run(stage: StageFunction[..., Any], *args: Any) -> Stage[Any]:
        return _TASKS[stage](interim, *args)

    return splitting.hold_out(run, data, core, config)
