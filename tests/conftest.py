"""What several tests stand on: the sample, prepared once, and larger data if they are there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys.base.config import Data, Encode, Split, Threshold
from recsys.pipeline import preparation
from recsys.store.stages import Stage

ROOT = Path(__file__).parent.parent
SAMPLE = Data(
    likes=str(ROOT / "data/sample/likes.psv.gz"), features=str(ROOT / "data/sample/feats.psv.gz")
)


@dataclass(frozen=True)
class Prepared:
    """A data set's stages up to the learning."""

    data: Stage
    core: Stage
    holdouts: Stage
    features: Stage


def prepare(data: Data, interim: Path, seed: int = 2016) -> Prepared:
    ingested = preparation.ingest(interim, data, preparation.sources_of(data))
    core = preparation.threshold(interim, ingested, Threshold())
    return Prepared(
        ingested,
        core,
        preparation.split(interim, ingested, core, Split(), seed),
        preparation.encode(interim, ingested, core, Encode()),
    )


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(SAMPLE, tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def citeulike(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = os.environ.get("RECSYS_BENCH_DATA")
    if not folder:
        pytest.skip("RECSYS_BENCH_DATA does not name the folder of the larger data sets")
    likes, features = (str(Path(folder) / "citeulike-a" / f) for f in ("likes.psv", "feats.psv"))
    data = Data(likes=likes, features=features)
    return prepare(data, tmp_path_factory.mktemp("citeulike"))
