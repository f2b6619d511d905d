"""Where two splits disagree on the order of models."""

from __future__ import annotations

from recsys.evaluation.orders import disagreement, means_of_run, swapped

RUN = {
    "test/precision_at_5": 0.3,
    "test_lightfm/precision_at_5": 0.25,
    "test_ease/precision_at_5": 0.28,
    "test_popularity/precision_at_5": 0.1,
    "test_lightfm/auc": 0.9,
    "val/precision_at_5": 0.4,
}


def test_means_are_those_of_the_test() -> None:
    expected = {"blend": 0.3, "ease": 0.28, "lightfm": 0.25, "popularity": 0.1}
    assert list(means_of_run(RUN).items()) == list(expected.items())
    alone = {"test/precision_at_5": 0.2, "test_ease/precision_at_5": 0.1}
    assert means_of_run(alone) == {"lightfm": 0.2, "ease": 0.1}
    assert means_of_run({"holdout/precision_at_5": 0.2}) == {}


def test_pairs_that_change_places_are_named() -> None:
    here = {"blend": 0.2, "popularity": 0.15, "lightfm": 0.15, "ease": 0.1, "als": 0.3}
    there = means_of_run(RUN)
    # Level here, so that neither is ahead of the other: popularity and LightFM are no pair.
    assert swapped(here, there) == [("popularity", "ease"), ("lightfm", "ease")]
    text = disagreement(here, there, "random", "2026-01-02 03:00")
    assert text == (
        "2 of 6 pairs of models are in another order than with split.method = 'random' (the run of "
        "2026-01-02 03:00): here popularity before EASE, LightFM before EASE."
    )
    same = disagreement(there, there, "last", "x")
    assert same == "The models have the same order as with split.method = 'last' (the run of x)."
    assert disagreement({"als": 0.1}, there, "random", "x") == ""
