"""The stage of drift: its profile, what it finds, and what the gate makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys.base.config import Data, Gate
from recsys.base.config_file import load_config
from recsys.base.errors import ConfigError
from recsys.data.outcomes import Ingested
from recsys.evaluation.drift import LABELS, Limits
from recsys.pipeline import preparation
from recsys.pipeline.drift_report import drift_section
from recsys.pipeline.drifting import checks_of, drift
from recsys.pipeline.outcomes import Drifted, EarlierNight
from recsys.pipeline.report import Report
from recsys.store.stages import Stage
from tests.fixtures.planted import planted, write_planted


@dataclass(frozen=True)
class Nights:
    folder: Path
    data: tuple[Stage[Ingested], ...]

    def drifted(
        self, night: int, *before: Stage[Drifted], limits: Limits | None = None
    ) -> Stage[Drifted]:
        earlier = tuple(
            EarlierNight(str(number), one.read_json("profile.json"))
            for number, one in enumerate(before, start=1)
        )
        return drift(self.folder, self.data[night], earlier, limits or Limits())


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Three nights of one world, and one in which a tenth of the rows have no user."""
    folder = tmp_path_factory.mktemp("drifting")
    data = []
    for seed in range(4):
        likes, features = write_planted(folder / str(seed), seed=seed)
        if seed == 3:
            lines = likes.read_text().splitlines()
            broken = [line.rpartition("|")[0] + "|" for line in lines[1::10]]
            likes.write_text("\n".join([*lines, *broken]) + "\n")
        where = Data(likes=str(likes), features=str(features))
        data.append(preparation.ingest(folder, where, preparation.sources_of(where)))
    return Nights(folder, tuple(data))


def test_the_first_night_leaves_a_profile(nights: Nights) -> None:
    first = nights.drifted(0)
    assert (first.outcome.nights, first.outcome.compared, first.outcome.drifts) == (0, 0, ())
    profile = first.read_json("profile.json")
    likes, _ = planted(seed=0)
    assert (profile["likes"], profile["users"]) == (len(likes), likes.uid.nunique())
    tags = likes.mid.str[:2].value_counts()
    assert profile["tags"]["tag_group 4"] == tags["g4"]
    assert profile["days"] is None
    assert drift_section(first) is None
    (check,) = checks_of(first, [])
    assert check.passed
    assert checks_of(None, []) == ()


def test_rows_that_are_left_out_are_named_and_hold_if_the_owner_says_so(nights: Nights) -> None:
    first = nights.drifted(0)
    second = nights.drifted(1, first)
    third = nights.drifted(2, first, second)
    assert (second.outcome.nights, third.outcome.nights) == (1, 2)
    assert second.outcome.drifts == third.outcome.drifts == ()
    fourth = nights.drifted(3, first, second, third)
    (said,) = fourth.outcome.told()
    assert said.startswith("drift: rows left out of likes: ")
    assert "usually 0.0%" in said
    assert all(check.passed for check in checks_of(fourth, ["likes", "tags"]))
    (held,) = checks_of(fourth, ["rejected_rows"])
    assert not held.passed
    section = drift_section(fourth)
    assert section is not None
    assert section.text[0].startswith("Compared with the last 3 nights")
    assert [row[0] for row in section.tables[0][1].rows].count("DRIFTS") == 1
    assert section.tables[0][1].rows[0][0] == "DRIFTS"
    page = Report("t", "v", False, (section,)).html()
    assert page.count("<svg") == 1
    assert list(fourth.read_json("nights.json")) == ["1", "2", "3", ""]


def test_the_same_night_again_is_the_same_product(nights: Nights) -> None:
    first = nights.drifted(0)
    second = nights.drifted(1, first)
    again = nights.drifted(1, nights.drifted(0))
    assert (again.key, again.digest) == (second.key, second.digest)
    # Its own data, registered meanwhile, are no earlier night.
    assert nights.drifted(1, first, second).outcome == second.outcome
    other = nights.drifted(1, first, limits=Limits(0.2, 2.0))
    assert other.key != second.key


def test_a_profile_of_another_release_is_no_night(nights: Nights) -> None:
    found = drift(nights.folder, nights.data[0], (EarlierNight("1", {"schema": 0}),), Limits())
    assert found.outcome.nights == 0


def test_what_may_hold_are_the_names_that_are_compared() -> None:
    assert Gate(drift_holds=list(LABELS)).drift_holds == list(LABELS)
    with pytest.raises(ConfigError, match=r"gate\.drift_holds"):
        load_config(None, {"gate.drift_holds": ["like"]})
