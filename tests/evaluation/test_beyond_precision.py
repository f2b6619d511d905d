"""Beyond precision: each figure worked out by hand, and all of them on a small world."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from recsys.data.features import EncodedFeatures
from recsys.evaluation.beyond_precision import (
    ItemTags,
    exposure,
    exposure_gap,
    found_in,
    measure_beyond_precision,
    miscalibration,
    novelty,
    self_information,
    serendipity,
    tag_diversity,
)
from recsys.evaluation.metric_names import beyond_metrics, beyond_text, price_text
from recsys.models.popularity import Popularity
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import HeldOut, evaluate
from tests.fixtures.matrices import GROUPS, ITEMS, USERS, group_tags, grouped

THIRDS = ["items of the head", "items of the middle", "items of the tail"]


def matrix(*lines: list[float]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(lines, np.float32))


def encoded(*lines: list[float]) -> EncodedFeatures:
    has = matrix(*lines)
    text = pa.array([f"tag_{letter}" for letter in "abcd"[: has.shape[1]]])
    return EncodedFeatures(has, text, text, text, np.asarray(has.getnnz(0), np.int32))


# Items 0 and 1 have tag a, 2 has a and b, 3 has c, 4 none, 5 has b. What tags weigh means nothing.
TAGS = ItemTags.of(
    encoded([1, 0, 0], [0.2, 0, 0], [0.6, 0.8, 0], [0, 0, 3], [0, 0, 0], [0, 1, 0], [1, 1, 1]), 6
)


def test_novel_is_what_few_like_in_bits() -> None:
    # Four users like anything at all: item 0 is liked by all of them, 1 by two, 2 by one.
    known = matrix([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0])
    information = self_information(known, 4)
    # What nobody likes counts as if one user did.
    assert information.tolist() == [0, 1, 2, 2]
    lists = np.array([[0, 1, -1], [2, 3, 1], [-1, -1, -1]])
    assert novelty(lists, information)[:2] == pytest.approx([1 / 2, 5 / 3])
    assert np.isnan(novelty(lists, information)[2])


def test_lists_are_diverse_by_tags_as_far_as_their_items_have_any() -> None:
    lists = np.array(
        [[0, 1, -1], [0, 2, -1], [0, 3, 4], [0, 1, 2], [0, 4, -1], [-1, -1, -1]], np.int32
    )
    found = tag_diversity(lists, TAGS)
    alike = 1 / np.sqrt(2)
    assert found[:4] == pytest.approx([0, 1 - alike, 1, 1 - (1 + 2 * alike) / 3])
    assert np.isnan(found[4:]).all()


def test_serendipity_is_the_part_of_precision_that_popularity_would_not_have_found() -> None:
    heldout = HeldOut.of(matrix([0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]), 5)
    lists = np.array([[1, 2, 3, 0], [4, -1, -1, -1]], np.int32)
    expected = np.array([[0, 1, 3, 4], [-1, -1, -1, -1]], np.int32)
    found = found_in(lists, heldout)
    assert found.tolist() == [[True, True, False, False], [True, False, False, False]]
    # Item 1 is expected, item 2 is not. A list with fewer items has as many places.
    assert serendipity(lists, found, expected).tolist() == [1 / 4, 1 / 4]
    assert serendipity(lists, found, lists).tolist() == [0, 0]


def test_a_list_is_calibrated_where_its_tags_are_those_of_the_likes() -> None:
    # Each user likes items 0 and 3: half a, half c. The last one likes nothing that has tags.
    likes = matrix(*[[1, 0, 0, 1, 1, 0]] * 5, [0, 0, 0, 0, 1, 0])
    lists = np.array([[0, 3], [0, 1], [5, -1], [2, 3], [4, -1], [0, 3]], np.int32)
    found = miscalibration(TAGS.mix(likes), lists, TAGS)
    expected = [
        0,
        0.5 * np.log(0.5 / (0.99 + 0.005)) + 0.5 * np.log(0.5 / 0.005),
        np.log(100),  # nothing in common
        # A quarter a, a quarter b, half c.
        0.5 * np.log(0.5 / (0.99 / 4 + 0.005)),
    ]
    assert found[:4] == pytest.approx(expected)
    assert np.isnan(found[4:]).all()


@given(seed=st.integers(0, 2**16), alpha=st.sampled_from([0.01, 0.3]))
def test_miscalibration_is_a_divergence_between_nothing_and_its_bound(
    seed: int, alpha: float
) -> None:
    generator = np.random.default_rng(seed)
    has = (generator.random((30, 4)) < 0.4).astype(np.float32)
    tags = ItemTags.of(encoded(*has.tolist()), 30)
    known = sp.csr_matrix((generator.random((8, 30)) < 0.3).astype(np.float32))
    lists = np.array([generator.permutation(30)[:5] for _ in range(8)], np.int32)
    lists[generator.random((8, 5)) < 0.2] = -1
    found = miscalibration(tags.mix(known), lists, tags, alpha)
    shares = has / np.maximum(1.0, has.sum(axis=1, keepdims=True, dtype=np.float64))
    for row, value in enumerate(found):
        p = (known[row].toarray() @ shares).ravel()
        q = shares[lists[row][lists[row] >= 0]].sum(axis=0)
        if not p.sum() or not q.sum():
            assert np.isnan(value)
            continue
        p, q = p / p.sum(), q / q.sum()
        assert value == pytest.approx(rel_entr(p, (1 - alpha) * q + alpha * p).sum())
        assert -1e-12 <= value <= -np.log(alpha) + 1e-12


def test_exposure_is_compared_with_what_is_liked() -> None:
    lists = np.array([[0, 1], [0, -1], [0, 2]], np.int32)
    shown = exposure(lists, 4)
    assert shown.tolist() == [3 / 5, 1 / 5, 1 / 5, 0]
    assert exposure_gap(shown, shown) == 0
    # Item 3 has a quarter of the likes and no place, item 0 has too many.
    assert exposure_gap(shown, np.full(4, 1 / 4)) == pytest.approx(0.35)
    assert exposure(np.full((2, 2), -1), 3).tolist() == [0, 0, 0]


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """A model that knows each user's group, popularity, and one that has one list for everybody."""
    known, heldout = grouped()
    user, item = (np.eye(GROUPS, dtype=np.float32)[np.arange(n) % GROUPS] for n in (USERS, ITEMS))
    likes = np.asarray(known.sum(axis=0)).ravel().astype(np.float32)
    models = {
        "lightfm": Factors(user * 1000, item, np.zeros(USERS, np.float32), likes),
        "popularity": Popularity().fit(known),
        "bpr": Factors(user * 0, item, np.zeros(USERS, np.float32), -likes),
    }
    found = {name: evaluate(one, heldout, known=known, ks=[5, 10]) for name, one in models.items()}
    features = group_tags().encoded
    figures = measure_beyond_precision(found, "lightfm", known, item, features)
    return {"known": known, "item": item, "evaluations": found, "figures": figures}


def test_models_are_measured_on_the_lists_of_their_precision(world: dict[str, Any]) -> None:
    figures, evaluations = world["figures"], world["evaluations"]
    assert json.loads(json.dumps(figures)) == figures
    assert (figures["k"], figures["users"], figures["winner"]) == (10, 74, "lightfm")
    means = {
        name: {figure: one["mean"] for figure, one in found.items()}
        for name, found in figures["models"].items()
    }
    for name, evaluation in evaluations.items():
        assert means[name]["precision"] == evaluation.per_user["precision_at_10"].mean()
        assert means[name]["coverage"] == evaluation.catalogue["coverage_at_10"]
        shares = [means[name][f"{part}_share"] for part in ("head", "middle", "tail")]
        assert sum(shares) == pytest.approx(1)
    own, popular, rare = means["lightfm"], means["popularity"], means["bpr"]
    assert popular["serendipity"] == 0
    assert own["precision"] - popular["precision"] <= own["serendipity"] <= own["precision"]
    assert popular["novelty"] < own["novelty"] < rare["novelty"]
    assert popular["head_share"] > own["head_share"] > rare["head_share"]
    # Each list has one tag as far as the group's items last, as each user likes it.
    assert own["miscalibration"] < popular["miscalibration"]
    # The vectors are the tags.
    assert own["vector_diversity"] == pytest.approx(own["tag_diversity"], abs=1e-6)
    interval = figures["models"]["lightfm"]["novelty"]
    assert interval["low"] < interval["mean"] < interval["high"]
    assert own["item_exposure_gap"] < popular["item_exposure_gap"]


def test_what_more_of_it_costs_is_paired_by_user(world: dict[str, Any]) -> None:
    prices = {price["figure"]: price for price in world["figures"]["prices"]}
    # The winner's lists are best in these.
    assert not {"serendipity", "miscalibration"} & set(prices)
    novel = prices["novelty"]
    per_user = [
        world["evaluations"][name].per_user["precision_at_10"] for name in ("bpr", "lightfm")
    ]
    assert (novel["model"], novel["value"]) == (
        "bpr", world["figures"]["models"]["bpr"]["novelty"]["mean"],
    )  # fmt: skip
    assert novel["precision"]["mean"] == pytest.approx((per_user[0] - per_user[1]).mean())
    assert novel["precision"]["low"] < novel["precision"]["mean"] < novel["precision"]["high"] < 0


def test_exposure_is_said_of_items_and_of_tags(world: dict[str, Any]) -> None:
    rows = {one["part"]: one for one in world["figures"]["exposure"]}
    assert list(rows)[:3] == THIRDS
    assert set(rows) - set(THIRDS) == {f"tag_{group}" for group in range(GROUPS)}
    for side in ("likes", "places"):
        values = [rows[f"tag_{group}"][side] for group in range(GROUPS)]
        assert sum(values) == pytest.approx(1)
    counts = np.bincount(world["known"].indices % GROUPS, minlength=GROUPS)
    assert rows["tag_2"]["likes"] == pytest.approx(counts[2] / counts.sum())


def test_without_tags_there_are_no_figures_of_tags(world: dict[str, Any]) -> None:
    found = measure_beyond_precision(
        world["evaluations"], "lightfm", world["known"], world["item"], None
    )
    own = world["figures"]["models"]["lightfm"]
    assert set(own) - set(found["models"]["lightfm"]) == {
        "tag_diversity", "miscalibration", "tag_exposure_gap",
    }  # fmt: skip
    assert [one["part"] for one in found["exposure"]] == THIRDS
    assert "vector diversity" in beyond_text(found)
    nothing = sp.csr_matrix(world["known"].shape, dtype=np.float32)
    nobody = evaluate(Popularity().fit(world["known"]), nothing, known=world["known"])
    empty = {"lightfm": nobody, "popularity": nobody}
    assert measure_beyond_precision(empty, "lightfm", world["known"], world["item"]) == {}


def test_figures_have_names_in_mlflow_and_a_line_in_the_terminal() -> None:
    winner = {"precision": 0.3, "novelty": 6.25, "tag_diversity": 0.5, "vector_diversity": 0.75}
    others = {"precision": 0.2, "novelty": 7.125, "tag_diversity": 0.25}
    figures = {
        "k": 10,
        "winner": "blend",
        "models": {
            name: {figure: {"mean": mean} for figure, mean in means.items()}
            for name, means in (("blend", winner), ("ease", others))
        },
        "prices": [
            {"figure": "novelty", "model": "ease", "value": 7.125, "precision": {"mean": -0.1}},
            {"figure": "vector_diversity", "model": "ease", "value": 1, "precision": {"mean": 0}},
        ],
    }
    assert beyond_metrics(figures) == {
        "beyond/novelty_at_10": 6.25,
        "beyond/tag_diversity_at_10": 0.5,
        "beyond/vector_diversity_at_10": 0.75,
        "beyond_ease/novelty_at_10": 7.125,
        "beyond_ease/tag_diversity_at_10": 0.25,
    }
    assert beyond_text(figures) == (
        "beyond precision at 10: novelty (bits) 6.250, tag diversity 0.500"
    )
    assert price_text(figures) == (
        "the best of each, and its change of precision at 10: "
        "novelty (bits) 7.125 of EASE (-0.1000)"
    )
    assert price_text({**figures, "prices": []}) == ""
    assert (beyond_metrics({}), beyond_text({}), price_text({})) == ({}, "", "")
