"""Metrics against hand-worked cases, LightFM, scikit-learn and the slow obvious way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from recsys.ranking import metrics
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import (
    Evaluation,
    bootstrap_interval,
    evaluate,
    list_metrics,
    paired_bootstrap,
    precision_at_k,
)
from recsys.ranking.scorer import ScoreTable

AWKWARD = [-np.inf, np.inf, np.nan, -1.0, 0.0, 1.0, 2.0]


def table(*rows: list[float]) -> ScoreTable:
    return ScoreTable(np.array(rows, np.float32))


def rows(*lines: list[int]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(lines, np.float32))


def random_case(n_users: int = 60, n_items: int = 400, d: int = 6, seed: int = 0):
    """Factors, held-out and known interactions, disjoint."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(shape, np.float32) for shape in ((n_users, d), (n_items, d))]
    biases = [rng.standard_normal(n, np.float32) for n in (n_users, n_items)]
    draws = rng.random((n_users, n_items))
    heldout = draws < 0.02
    heldout[:5] = False  # some users have nothing held out
    known = (draws > 0.9) & ~heldout
    return (
        Factors(*parts, *biases),
        sp.csr_matrix(heldout, dtype=np.float32),
        sp.csr_matrix(known, dtype=np.float32),
    )


def all_scores(factors: Factors) -> np.ndarray:
    scores = factors.user_factors @ factors.item_factors.T + factors.item_biases
    return scores + factors.user_biases[:, None]


def assert_same(a: Evaluation, b: Evaluation) -> None:
    np.testing.assert_array_equal(a.users, b.users)
    assert a.per_user.keys() == b.per_user.keys()
    for name, values in a.per_user.items():
        np.testing.assert_allclose(b.per_user[name], values, rtol=1e-12, err_msg=name)
    assert b.catalogue == pytest.approx(a.catalogue)


class TestByHand:
    def test_two_users(self):
        scorer = table([4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1])
        heldout = rows([0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0])
        known = rows([0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0])
        found = evaluate(scorer, heldout, known=known, ks=(1, 2, 4))
        assert found.users.tolist() == [0, 2]
        expected = {
            "precision_at_1": [0, 1],
            "precision_at_2": [1 / 2, 1 / 2],
            "precision_at_4": [2 / 4, 1 / 4],
            "recall_at_1": [0, 1],
            "recall_at_2": [1 / 2, 1],
            "recall_at_4": [1, 1],
            "hit_rate_at_1": [0, 1],
            "hit_rate_at_2": [1, 1],
            "map_at_1": [0, 1],
            "map_at_2": [(1 / 2) / 2, 1],
            "map_at_4": [(1 / 2 + 2 / 4) / 2, 1],
            "ndcg_at_1": [0, 1],
            "ndcg_at_2": [(1 / np.log2(3)) / (1 + 1 / np.log2(3)), 1],
            "ndcg_at_4": [(1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)), 1],
            "auc": [1 / 4, 1],
        }
        for name, values in expected.items():
            np.testing.assert_allclose(found.per_user[name], values, rtol=1e-12, err_msg=name)
        # Lists: user 0 gets 0, 1, 2, 3 and user 2 gets 0, 3.
        assert found.catalogue["coverage_at_1"] == 1 / 4
        assert found.catalogue["coverage_at_2"] == 3 / 4
        assert found.catalogue["gini_at_1"] == 3 / 4
        # Items 1 and 2 are known once, 0 and 3 never: percentiles 3/4 and 1/4.
        assert found.catalogue["popularity_percentile_at_1"] == 1 / 4
        assert found.catalogue["popularity_percentile_at_2"] == (1 / 4 + 3 / 4 + 1 / 4 + 1 / 4) / 4

    def test_equal_scores_count_against_the_held_out_item(self):
        found = evaluate(table([1, 1, 0]), rows([1, 0, 0]), ks=(1, 2))
        assert found.per_user["precision_at_1"] == [0]
        assert found.per_user["precision_at_2"] == [1 / 2]
        assert found.per_user["auc"] == [1 / 2]

    def test_a_constant_model_earns_nothing(self):
        found = evaluate(table([1] * 9), rows([1, 1] + [0] * 7), ks=(5,))
        assert found.per_user["precision_at_5"] == [0]
        assert found.per_user["auc"] == [0]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_model_that_is_not_finite_earns_nothing(self, bad):
        found = evaluate(table([bad, bad, bad]), rows([1, 0, 0]), ks=(2, 5))
        assert all(values == [0] for values in found.per_user.values())
        assert found.catalogue["coverage_at_5"] == 0

    def test_a_known_held_out_item_is_a_miss(self):
        found = evaluate(table([3, 2, 1]), rows([1, 1, 0]), known=rows([1, 0, 0]), ks=(1, 9))
        assert found.per_user["precision_at_1"] == [1]
        assert found.per_user["recall_at_9"] == [1 / 2]
        assert found.per_user["auc"] == [1 / 2]

    def test_k_beyond_the_catalogue(self):
        found = evaluate(table([2, 1]), rows([0, 1]), ks=(5,))
        assert found.per_user["precision_at_5"] == [1 / 5]
        assert found.per_user["ndcg_at_5"] == pytest.approx([1 / np.log2(3)])

    def test_no_negatives(self):
        assert evaluate(table([2, 1]), rows([1, 1])).per_user["auc"] == [0.5]

    def test_candidates_drop_what_lies_outside(self):
        scorer = table([9, 8, 3, 4], [9, 8, 3, 4])
        heldout = rows([1, 0, 1, 0], [1, 0, 0, 0])
        found = evaluate(scorer, heldout, ks=(1, 2), candidates=np.array([3, 2]))
        assert found.users.tolist() == [0]
        assert found.per_user["precision_at_2"] == [1 / 2]
        assert found.per_user["recall_at_2"] == [1]
        assert found.per_user["auc"] == [0]
        assert found.catalogue["coverage_at_1"] == 1 / 2

    def test_repeated_and_unordered_entries_count_once(self):
        heldout = sp.csr_matrix(([1, 1, 1], [2, 0, 2], [0, 3]), shape=(1, 3))
        found = evaluate(table([3, 1, 2]), heldout, ks=(2,))
        assert found.per_user["recall_at_2"] == [1]
        assert found.per_user["ndcg_at_2"] == [1]

    def test_nobody_to_evaluate(self):
        found = evaluate(table([1, 2]), rows([0, 0]), known=rows([1, 0]))
        assert set(found.means().values()) == {0}
        assert len(precision_at_k(table([1, 2]), rows([0, 0]))) == 0

    def test_gini(self):
        lists = np.array([[0, 1], [0, -1], [0, -1]])
        assert list_metrics(lists, 2, [1, 2]) == pytest.approx(
            {"coverage_at_1": 0.5, "gini_at_1": 0.5, "coverage_at_2": 1, "gini_at_2": 0.25}
        )


class TestExtremes:
    def test_a_perfect_model(self):
        _, heldout, known = random_case()
        untied = np.linspace(0, 0.5, heldout.shape[1], dtype=np.float32)
        found = evaluate(ScoreTable(heldout.toarray() + untied), heldout, known=known, ks=(5,))
        n = heldout.getnnz(axis=1)[found.users]
        np.testing.assert_allclose(found.per_user["precision_at_5"], np.minimum(n, 5) / 5)
        for name in ("ndcg_at_5", "map_at_5", "hit_rate_at_5", "auc"):
            np.testing.assert_allclose(found.per_user[name], 1, err_msg=name)

    def test_the_worst_model(self):
        _, heldout, known = random_case()
        found = evaluate(ScoreTable(-heldout.toarray()), heldout, known=known, ks=(5,))
        assert all((values == 0).all() for values in found.per_user.values())


def lightfm_with(factors: Factors):
    """A LightFM model with given factors, without training."""
    lightfm = pytest.importorskip("lightfm")
    model = lightfm.LightFM(no_components=factors.n_components)
    model.user_embeddings, model.item_embeddings = factors.user_factors, factors.item_factors
    model.user_biases, model.item_biases = factors.user_biases, factors.item_biases
    for side in ("user", "item"):  # what predict_rank asks for and does not use
        for part, shape in (("embedding", "factors"), ("bias", "biases")):
            zeros = np.zeros_like(getattr(factors, f"{side}_{shape}"))
            setattr(model, f"{side}_{part}_gradients", zeros)
            setattr(model, f"{side}_{part}_momentum", zeros)
    return model


class TestAgainstLightFM:
    @pytest.mark.parametrize("masked", [True, False])
    @pytest.mark.parametrize("k", [1, 5, 20])
    def test_precision_and_recall(self, masked, k):
        evaluation = pytest.importorskip("lightfm.evaluation")
        factors, heldout, known = random_case()
        known = known if masked else None
        found = evaluate(factors, heldout, known=known, ks=(k,))
        for name in ("precision", "recall"):
            theirs = getattr(evaluation, f"{name}_at_k")(lightfm_with(factors), heldout, known, k=k)
            np.testing.assert_allclose(found.per_user[f"{name}_at_{k}"], theirs, rtol=1e-6)
        np.testing.assert_allclose(
            precision_at_k(factors, heldout, known, k), found.per_user[f"precision_at_{k}"]
        )

    @pytest.mark.parametrize("masked", [True, False])
    def test_auc(self, masked):
        evaluation = pytest.importorskip("lightfm.evaluation")
        factors, heldout, known = random_case()
        known = known if masked else None
        theirs = evaluation.auc_score(lightfm_with(factors), heldout, known)
        found = evaluate(factors, heldout, known=known).per_user["auc"]
        np.testing.assert_allclose(found, theirs, rtol=2e-5)


class TestAgainstScikitLearn:
    def test_ndcg_map_and_auc(self):
        factors, heldout, _ = random_case()
        found = evaluate(factors, heldout, ks=(10, 400))
        truth, scores = heldout.toarray()[found.users], all_scores(factors)[found.users]
        for row, (relevant, line) in enumerate(zip(truth, scores, strict=True)):
            theirs = ndcg_score(relevant[None], line[None], k=10)
            assert found.per_user["ndcg_at_10"][row] == pytest.approx(theirs)
            theirs = average_precision_score(relevant, line)
            assert found.per_user["map_at_400"][row] == pytest.approx(theirs)
            assert found.per_user["auc"][row] == pytest.approx(roc_auc_score(relevant, line))


def slow(scores, heldout, known, k):
    """Precision, map, ndcg and auc of one user, item by item."""
    ranked = [i for i in range(len(scores)) if not known[i]]
    value = {i: scores[i] if np.isfinite(scores[i]) else -np.inf for i in ranked}
    held = [i for i in range(len(scores)) if heldout[i]]
    negatives = [i for i in ranked if not heldout[i]]
    real = [i for i in held if i in value and value[i] > -np.inf]
    ranks = {i: sum(value[j] >= value[i] for j in ranked if j != i) for i in real}
    hits = [i for i in real if ranks[i] < k]
    depth = min(k, len(held))
    good = {i: sum(ranks[j] <= ranks[i] for j in hits) for i in hits}
    lost = {i: sum(value[j] >= value[i] for j in negatives) for i in real}
    wins = sum(len(negatives) - lost[i] for i in real)
    return {
        f"precision_at_{k}": len(hits) / k,
        f"map_at_{k}": sum(good[i] / (ranks[i] + 1) for i in hits) / depth,
        f"ndcg_at_{k}": sum(1 / np.log2(ranks[i] + 2) for i in hits)
        / sum(1 / np.log2(i + 2) for i in range(depth)),
        "auc": wins / (len(held) * len(negatives)) if negatives else 0.5,
    }


@st.composite
def problems(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 40)))
    scores = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from(AWKWARD)))
    heldout, known = (draw(hnp.arrays(bool, shape)) for _ in range(2))
    return scores, heldout, known, draw(st.integers(1, 45))


class TestAgainstTheSlowWay:
    @settings(max_examples=120)
    @given(problems())
    def test_awkward_scores(self, problem):
        scores, heldout, known, k = problem
        arguments = {"known": sp.csr_array(known), "ks": (k,)}
        found = evaluate(ScoreTable(scores), sp.csr_array(heldout), **arguments)
        assert found.users.tolist() == np.flatnonzero(heldout.any(axis=1)).tolist()
        for row, user in enumerate(found.users):
            for name, value in slow(scores[user], heldout[user], known[user], k).items():
                assert found.per_user[name][row] == pytest.approx(value), name
        fast = precision_at_k(ScoreTable(scores), sp.csr_array(heldout), sp.csr_array(known), k)
        np.testing.assert_allclose(fast, found.per_user[f"precision_at_{k}"])
        cheap = evaluate(ScoreTable(scores), sp.csr_array(heldout), auc=False, **arguments)
        del found.per_user["auc"]
        assert_same(cheap, found)


class TestInvariance:
    @pytest.mark.parametrize("block_bytes", [1, 30_000, 2**27])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_block_size_and_threads(self, block_bytes, threads):
        factors, heldout, known = random_case(300, 200)
        arguments = {"known": known, "block_bytes": block_bytes, "threads": threads}
        assert_same(
            evaluate(factors, heldout, known=known), evaluate(factors, heldout, **arguments)
        )
        np.testing.assert_array_equal(
            precision_at_k(factors, heldout, known), precision_at_k(factors, heldout, **arguments)
        )

    def test_order_of_users(self):
        factors, heldout, known = random_case()
        order = np.random.default_rng(0).permutation(factors.n_users)
        shuffled = Factors(
            factors.user_factors[order], factors.item_factors,
            factors.user_biases[order], factors.item_biases,
        )  # fmt: skip
        whole = evaluate(factors, heldout, known=known)
        found = evaluate(shuffled, heldout[order], known=known[order])
        back = np.argsort(order[found.users])
        for name, values in whole.per_user.items():
            np.testing.assert_allclose(found.per_user[name][back], values, err_msg=name)
        assert found.catalogue == pytest.approx(whole.catalogue)

    def test_candidates_equal_a_smaller_catalogue(self):
        factors, heldout, known = random_case()
        pool = np.arange(3, 400, 7)
        smaller = Factors(
            factors.user_factors, factors.item_factors[pool],
            factors.user_biases, factors.item_biases[pool],
        )  # fmt: skip
        assert_same(
            evaluate(factors, heldout, known=known, candidates=pool),
            evaluate(smaller, heldout[:, pool], known=known[:, pool]),
        )

    def test_a_user_with_a_long_history_changes_nobody_else(self):
        factors, heldout, known = random_case()
        longer = heldout.tolil()
        longer[7] = 1
        longer, known = longer.tocsr(), known.tolil()
        known[7] = 0
        known = known.tocsr()
        found, whole = (evaluate(factors, h, known=known) for h in (longer, heldout))
        for name, values in whole.per_user.items():
            others = whole.users != 7
            np.testing.assert_allclose(found.per_user[name][others], values[others])


class TestRefusals:
    @pytest.mark.parametrize("ks", [(), (0,), (5, -1)])
    def test_k(self, ks):
        with pytest.raises(ValueError, match="every k"):
            evaluate(table([1]), rows([1]), ks=ks)

    def test_held_out_items_beyond_the_catalogue(self):
        with pytest.raises(ValueError, match="held-out items"):
            precision_at_k(table([1]), rows([0, 1]))


class TestBootstrap:
    def test_the_interval_holds_the_mean_at_its_level(self):
        rng = np.random.default_rng(0)
        inside = 0
        for seed in range(200):
            interval = bootstrap_interval(rng.normal(3, 1, 50), seed, samples=300)
            inside += interval.low <= 3 <= interval.high
        assert 0.88 <= inside / 200 <= 0.99

    def test_normal_theory(self):
        values = np.random.default_rng(1).normal(0, 2, 4000)
        interval = bootstrap_interval(values, 0)
        assert interval.mean == pytest.approx(values.mean())
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2 / 4000**0.5, rel=0.1)

    def test_one_seed_one_result(self):
        values = np.random.default_rng(0).random(90)
        assert bootstrap_interval(values, 3) == bootstrap_interval(values, 3)
        assert bootstrap_interval(values, 3) != bootstrap_interval(values, 4)

    @pytest.mark.parametrize("kept", [0, 10**9])
    def test_means_are_those_of_values_drawn_again(self, kept, monkeypatch):
        """How often each is drawn may be counted, once for all that are as many."""
        monkeypatch.setattr(metrics, "_KEPT_DRAWS", kept)
        rng = np.random.default_rng(5)
        for values in (rng.random(70), rng.random(70), rng.random(71)):
            drawn = np.random.default_rng(3).integers(len(values), size=(40, len(values)))
            low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
            found = bootstrap_interval(values, 3, samples=40)
            assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)

    def test_pairing_cancels_what_users_share(self):
        rng = np.random.default_rng(2)
        shared = rng.normal(0, 10, 500)
        found = paired_bootstrap(shared + 0.1, shared, 0)
        assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))

    def test_refusals(self):
        with pytest.raises(ValueError, match="at least one value"):
            bootstrap_interval(np.array([]), 0)
        with pytest.raises(ValueError, match="length"):
            paired_bootstrap(np.zeros(2), np.zeros(3), 0)
