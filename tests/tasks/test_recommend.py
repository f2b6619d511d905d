"""The batch's task, outside of a flow: how it meets a registry that is away."""

from __future__ import annotations

import pytest

from recsys.base.config import Batch, Tracking
from recsys.base.errors import NotFoundError, OutageError
from recsys.base.events import Event, Note, listening
from recsys.pipeline.tracked import Tracked
from tasks.recommend import recommend
from tests.fixtures.tracking_server import Proxy, TrackingServer


def test_a_registry_that_is_away_is_waited_for_as_long_as_the_patience_lasts(
    mlflow_server: TrackingServer,
) -> None:
    proxy = Proxy(mlflow_server.port)
    proxy.cut()
    tracking = Tracking(uri=proxy.uri, patience=60)
    notes: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
            proxy.fix()

    # The server says that there is no champion: it was asked again, after it was away.
    with listening(listen), pytest.raises(NotFoundError, match="pears has no champion"):
        recommend(Batch(), Tracked(tracking, "pears", "pears"))
    assert len(notes) == 1
    proxy.cut()
    tracking = Tracking(uri=proxy.uri, patience=0)
    with pytest.raises(OutageError):
        recommend(Batch(), Tracked(tracking, "pears", "pears"))
    proxy.close()
