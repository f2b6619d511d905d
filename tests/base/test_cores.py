"""Cores are shared by what computes at the same time, and CPU seconds of helpers are counted."""

from __future__ import annotations

import time

import pytest

from recsys.base import cores


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available", lambda: 8)


def test_who_comes_alone_has_all_and_shares_them_with_those_who_come() -> None:
    with cores.shared() as first:
        assert first() == 8
        with cores.shared() as second, cores.shared() as third:
            assert [first(), second(), third()] == [2, 2, 2]
        assert first() == 8


def test_more_at_once_than_processors_have_one_each() -> None:
    with cores.shared() as first:
        others = [cores.shared() for _ in range(9)]
        for other in others:
            other.__enter__()
        assert first() == 1
        for other in others:
            other.__exit__(None, None, None)


def test_a_number_that_is_given_is_taken() -> None:
    with cores.shared(3) as threads, cores.shared() as rest:
        assert threads() == 3
        assert rest() == 5
    with cores.shared(9), cores.shared() as rest:
        assert rest() == 1


def test_one_of_several_processes_is_held_to_its_part() -> None:
    with cores.at_most(1), cores.shared() as threads:
        assert threads() == 1
    with cores.shared() as threads:
        assert threads() == 8


def test_seconds_of_helpers_are_on_top_of_those_of_the_thread() -> None:
    start, own = cores.cpu_seconds(), time.thread_time()
    cores.add_seconds(5)
    assert cores.cpu_seconds() - start == pytest.approx(5, abs=0.5 + time.thread_time() - own)
