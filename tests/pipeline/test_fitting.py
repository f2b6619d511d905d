"""The stage of the final fit, on this machine and spread over a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys.base.config import Data, Evaluate, Fit
from recsys.bundle import load_bundle
from recsys.evaluation.comparison import TriedStrategy
from recsys.models import lightfm
from recsys.models.spreading import Spread
from recsys.pipeline import evaluation, fitting
from recsys.pipeline.outcomes import Adopted, Evaluated, Fitted
from recsys.store.stages import Stage
from tests.fixtures.planted import write_planted
from tests.fixtures.stages import prepare

SEED = 3


def test_a_fit_on_a_cluster_is_the_bundle_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightfm, "LEAST_IN_GROUP", 64)  # small data are cut as well
    distributed = pytest.importorskip("distributed")
    likes, features = write_planted(tmp_path / "in", items=24)
    prepared = prepare(Data(likes=str(likes), features=str(features)), tmp_path)

    def adopted(blocks: int) -> Stage[Adopted]:
        configuration: dict[str, Any] = {"no_components": 8, "blocks": blocks}
        tried = {"none": TriedStrategy(configuration, 3)}
        found = Adopted(configuration=configuration, epochs=3, strategies=tried)
        return Stage("adopt", str(tmp_path), "", str(found), found)

    options = Evaluate(baseline_trials=0, bootstrap_samples=20)

    def evaluated(folder: str, machines: Fit | None = None) -> Stage[Evaluated]:
        return evaluation.evaluate(
            tmp_path / folder, prepared.holdouts, prepared.features, adopted(2), options, SEED,
            machines=machines,
        )  # fmt: skip

    measured = evaluated("measured")

    def fitted(folder: str, settings: Fit, blocks: int = 2) -> Stage[Fitted]:
        return fitting.fit(
            tmp_path / folder, prepared.core, prepared.features, adopted(blocks), measured,
            settings, SEED, {},
        )  # fmt: skip

    alone, threads = fitted("alone", Fit()), fitted("threads", Fit(threads=3))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        address = {"cluster": cluster.scheduler_address, "exchange": str(tmp_path / "exchange")}
        spread_fits: list[int] = []
        train = Spread.train

        def counted(spread: Spread, model: Any, given: Any, groups: int, epochs: int) -> None:
            spread_fits.append(epochs)
            train(spread, model, given, groups, epochs)

        monkeypatch.setattr(Spread, "train", counted)
        spread = fitted("spread", Fit(**address))
        assert spread_fits == [3]
        assert evaluated("spread", Fit(**address)).digest == measured.digest
        assert len(spread_fits) > 1
    assert alone.digest == threads.digest == spread.digest
    assert list((tmp_path / "exchange").iterdir()) == []  # it was there, and has gone
    whole = load_bundle(fitted("whole", Fit(), blocks=1).file("bundle"))
    cut = load_bundle(spread.file("bundle"))
    assert (whole.factors.item_factors != cut.factors.item_factors).any()
