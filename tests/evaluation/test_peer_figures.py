"""Figures that RecTools defines as we do, on a world that it has measured."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from recsys.data.features import EncodedFeatures
from recsys.evaluation.beyond_precision import ItemTags, novelty, self_information, tag_diversity
from recsys.ranking.metrics import evaluate
from recsys.ranking.scorer import ScoreTable
from tests.fixtures.peer_figures import ITEMS, PATH, TAGS, K

PEER = json.loads(PATH.read_text(encoding="utf-8"))
FIGURES = {name: np.array(values) for name, values in PEER["figures"].items()}


def ones(rows: list[list[int]], width: int) -> sp.csr_matrix:
    indptr = np.cumsum([0, *map(len, rows)])
    items = np.concatenate(rows)
    return sp.csr_matrix((np.ones(len(items), np.float32), items, indptr), (len(rows), width))


KNOWN, HELDOUT = (ones(PEER[part], ITEMS) for part in ("known", "heldout"))
FOUND = evaluate(
    ScoreTable(np.array(PEER["scores"], np.float32)), HELDOUT, known=KNOWN, ks=[K, 2 * K]
)


@pytest.mark.parametrize("name", ["precision", "recall", "hit_rate", "ndcg"])
def test_metrics_of_each_user_agree(name: str) -> None:
    assert FIGURES[name].std() > 0.1
    np.testing.assert_allclose(FOUND.per_user[f"{name}_at_{K}"], FIGURES[name], rtol=1e-12)


def test_average_precision_agrees_with_both_of_its_definitions() -> None:
    """RecTools divides by the held-out likes or by k, here the smaller one counts."""
    few = FOUND.heldout.counts <= K
    assert 0 < few.sum() < len(few)
    expected = np.where(few, FIGURES["map_by_relevant"], FIGURES["map_by_k"])
    np.testing.assert_allclose(FOUND.per_user[f"map_at_{K}"], expected, rtol=1e-12)


def test_coverage_novelty_and_diversity_agree() -> None:
    assert FOUND.lists is not None
    lists = FOUND.lists[:, :K]
    assert FOUND.catalogue[f"coverage_at_{K}"] == pytest.approx(FIGURES["coverage"][0], rel=1e-12)
    np.testing.assert_allclose(
        novelty(lists, self_information(KNOWN, ITEMS)), FIGURES["novelty"], rtol=1e-12
    )
    # Some items are liked by nobody, and count as if one user did.
    assert (np.bincount(KNOWN.indices, minlength=ITEMS)[lists] == 0).any()
    names = pa.array([f"tag_{tag}" for tag in range(TAGS)])
    matrix = ones(PEER["tags"], TAGS)
    features = EncodedFeatures(matrix, names, names, names, np.asarray(matrix.getnnz(0), np.int32))
    np.testing.assert_allclose(
        tag_diversity(lists, ItemTags.of(features, ITEMS)), FIGURES["tag_diversity"], rtol=1e-9
    )
