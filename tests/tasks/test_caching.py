"""Stages as Prefect tasks: reused by content, made again when damaged, retried where that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from recsys.base.config import Threshold
from recsys.base.errors import InputError
from recsys.base.events import Event, Note, StageDone, StageStarted, listening
from recsys.store.stages import Outcome, Stage, StageFunction, stage
from tasks.caching import cached_task


@dataclass(frozen=True)
class Counted(Outcome):
    letters: int


@dataclass
class Counting:
    """A stage that counts how often it was made, and fails as often as it is told to."""

    faults: list[Exception] = field(default_factory=list)
    made: int = 0
    until: threading.Event | None = None

    def stage(self) -> StageFunction[..., Counted]:
        def count(folder: Path, text: str, options: Threshold, workers: int = 1) -> Counted:
            self.made += 1
            if self.faults:
                raise self.faults.pop(0)
            if self.until is not None:
                self.until.wait(60)
            (folder / "text").write_text(text * options.user_min)
            return Counted(len(text))

        return stage(Counted, version=1, unkeyed=("workers",))(count)


def run(call: Callable[[], Any]) -> Any:
    """Inside of a flow run, as in the pipeline."""
    return flow(name="stages")(call)()


def counted(events: list[Event]) -> list[bool]:
    """Whether each stage that was done had been reused."""
    return [event.reused for event in events if isinstance(event, StageDone)]


OPTIONS = Threshold(user_min=2)


def test_the_same_product_is_made_once(tmp_path: Path) -> None:
    counting, events = Counting(), []
    task = cached_task(counting.stage())
    with listening(events.append):
        first, again = (run(lambda: task(str(tmp_path), "abc", OPTIONS)) for _ in range(2))
    assert first == again
    assert isinstance(first, Stage)
    assert first.outcome == Counted(3)
    assert first.file("text").read_text() == "abcabc"
    assert (counting.made, counted(events)) == (1, [False, True])
    started = [event.stage for event in events if isinstance(event, StageStarted)]
    assert started == ["count", "count"]
    assert events[-1].counts == {"letters": 3}


def test_what_changes_the_product_makes_it_again_and_the_rest_does_not(tmp_path: Path) -> None:
    counting = Counting()
    task = cached_task(counting.stage())
    paths = [
        run(lambda given=given: task(str(tmp_path), *given).path)
        for given in (
            ("abc", OPTIONS),
            ("abc", OPTIONS, 4),
            ("abd", OPTIONS),
            ("abc", Threshold(user_min=3)),
        )
    ]
    assert paths[0] == paths[1]
    assert len(set(paths)) == counting.made == 3


def test_another_folder_has_a_product_of_its_own(tmp_path: Path) -> None:
    counting = Counting()
    task = cached_task(counting.stage())
    one, other = (run(lambda f=f: task(str(tmp_path / f), "abc", OPTIONS)) for f in ("a", "b"))
    assert (one.digest, counting.made) == (other.digest, 2)
    assert one.path != other.path


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_a_product_that_is_not_whole_any_more_is_made_again(harm: str, tmp_path: Path) -> None:
    counting, events = Counting(), []
    task = cached_task(counting.stage())
    with listening(events.append):
        made = run(lambda: task(str(tmp_path), harm, OPTIONS))
        if harm == "deleted":
            made.file("text").unlink()
        else:
            made.file("text").write_text("other")
        assert run(lambda: task(str(tmp_path), harm, OPTIONS)) == made
    assert made.file("text").read_text() == 2 * harm
    assert (counting.made, counted(events)) == (2, [False, False])


def test_a_fault_of_the_outside_world_is_tried_again(tmp_path: Path) -> None:
    counting = Counting([OSError("reset by peer")])
    made = run(lambda: cached_task(counting.stage(), retries=1)(str(tmp_path), "abc", OPTIONS))
    assert (made.outcome, counting.made) == (Counted(3), 2)


@pytest.mark.parametrize("fault", [InputError("a column", "two", "add one"), ValueError("x")])
def test_a_wrong_input_is_not_tried_again(fault: Exception, tmp_path: Path) -> None:
    counting = Counting([fault, fault])
    task = cached_task(counting.stage(), retries=3)
    with pytest.raises(type(fault)):
        run(lambda: task(str(tmp_path), "abc", OPTIONS))
    assert counting.made == 1
    assert not list(tmp_path.glob("count-*"))


def test_without_retries_nothing_is_tried_again(tmp_path: Path) -> None:
    counting = Counting([OSError("reset by peer")])
    with pytest.raises(OSError, match="reset by peer"):
        run(lambda: cached_task(counting.stage())(str(tmp_path), "abc", OPTIONS))
    assert counting.made == 1


def test_a_failed_stage_is_made_by_the_next_run(tmp_path: Path) -> None:
    counting = Counting([InputError("a column", "two", "add one")])
    task = cached_task(counting.stage())
    with pytest.raises(InputError):
        run(lambda: task(str(tmp_path), "abc", OPTIONS))
    assert run(lambda: task(str(tmp_path), "abc", OPTIONS)).outcome == Counted(3)


def test_of_two_at_once_one_makes_it_and_the_other_waits(tmp_path: Path) -> None:
    waiting = threading.Event()
    counting = Counting(until=waiting)
    task = cached_task(counting.stage())
    made: list[Stage[Counted]] = []
    notes: list[str] = []

    def heard(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
            waiting.set()

    with listening(heard):
        both = [
            threading.Thread(
                target=lambda: made.append(run(lambda: task(str(tmp_path), "abc", OPTIONS)))
            )
            for _ in range(2)
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert counting.made == 1
    assert made[0] == made[1]
    assert notes == ["another run is making count on the same data; waiting for it"]
