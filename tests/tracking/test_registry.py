"""The registry: aliases of a real MLflow database, moved, cut off in the middle, moved back."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from recsys.base.errors import NotFoundError, RegistryError
from recsys.serving import pyfunc
from recsys.serving.champion import Champion
from recsys.tracking.registry import Registry, whoami
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tracking.versions import LostBundleError, Version
from tests.fixtures.bundles import write_bundle
from tests.fixtures.tracking_database import tracking_database
from tests.fixtures.waiting import wait_until


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a logged model, which every test registers under a name of its own."""
    folder = tmp_path_factory.mktemp("registry")
    uri = tracking_database(folder)
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    pyfunc.register(uri, run_id, "fruit", write_bundle(folder / "bundle"), {"bundle": "digest1"})
    return folder / "mlflow.db"


@pytest.fixture
def registry(database: Path, request: pytest.FixtureRequest) -> Registry:
    """Three versions of one model, 1 champion."""
    uri = f"sqlite:///{database}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    source = client.get_model_version_download_uri("fruit", "1")
    run_id = client.get_model_version("fruit", "1").run_id
    client.create_registered_model(request.node.name)
    for number in (1, 2, 3):
        tags = {"bundle": f"digest{number}"}
        client.create_model_version(request.node.name, source, run_id, tags=tags)
    made = Registry(uri, request.node.name)
    made.promote("1", by="train", why="the first")
    return made


def aliases(registry: Registry) -> tuple[str | None, str | None]:
    """Numbers of champion and previous."""
    found = registry.at("champion"), registry.at("previous")
    return tuple(None if version is None else version.number for version in found)  # type: ignore[return-value]


@contextmanager
def refused(database: Path, alias: str) -> Iterator[None]:
    """The database refuses to write one alias: a process that dies before it does no more."""
    for verb in ("INSERT", "UPDATE"):
        _execute(
            database,
            f"CREATE TRIGGER refuse_{verb} BEFORE {verb} ON registered_model_aliases "
            f"WHEN NEW.alias = '{alias}' BEGIN SELECT RAISE(ABORT, 'cut off'); END",
        )
    try:
        yield
    finally:
        for verb in ("INSERT", "UPDATE"):
            _execute(database, f"DROP TRIGGER refuse_{verb}")


def _execute(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(statement)
    connection.close()


def test_promotion_leaves_the_one_before_and_says_who_and_why(registry: Registry) -> None:
    assert aliases(registry) == ("1", None)
    before = registry.promote("2", by="ann", why="looks better")
    assert before is not None
    assert before.number == "1"
    assert aliases(registry) == ("2", "1")
    tags = registry.version("2").tags
    assert (tags["promoted_by"], tags["promoted_why"]) == ("ann", "looks better")
    assert tags["promoted"].endswith("+00:00")
    # Again: nothing changes but the reason.
    registry.promote("2", by="bob", why="again")
    assert aliases(registry) == ("2", "1")
    assert registry.version("2").tags["promoted_by"] == "bob"


def test_a_rollback_restores_the_previous_champion_once(registry: Registry) -> None:
    registry.promote("2", by="train", why="passed")
    fallen, restored = registry.rollback(by="ann", why="angry users")
    assert (fallen.number, restored.number) == ("2", "1")
    assert aliases(registry) == ("1", "2")
    tags = registry.version("2").tags
    assert (tags["rolled_back_by"], tags["rolled_back_why"]) == ("ann", "angry users")
    assert registry.version("1").tags["promoted_why"] == "back from 2: angry users"
    # Whoever types it twice does not get the bad one back.
    with pytest.raises(NotFoundError, match=r"version 2 .* was rolled back itself"):
        registry.rollback(by="ann", why="angry users")
    assert aliases(registry) == ("1", "2")
    # By hand it comes back, and may be rolled back again.
    registry.promote("2", by="ann", why="it was the network")
    assert aliases(registry) == ("2", "1")
    assert "rolled_back" not in registry.version("2").tags
    registry.rollback(by="ann", why="it was not")
    assert aliases(registry) == ("1", "2")


def test_where_the_champion_was_deleted_the_one_before_stands_in(registry: Registry) -> None:
    registry.promote("2", by="train", why="passed")
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    client.delete_model_version(registry.model, "2")  # as over REST; its alias goes with it
    assert aliases(registry) == (None, "1")
    for found in (registry.standing(), registry.rival("new"), registry.reference("new")):
        assert found is not None
        assert found.number == "1"
    assert registry.champion_manifest() == registry.manifest("1")
    assert registry.not_standing() == (
        f"{registry.model} has no champion any more, its version or alias was deleted; "
        "version 1, the one before it, stands in for it"
    )
    assert registry.rollback(by="ann", why="who was that")[0] is None
    assert aliases(registry) == ("1", None)
    assert registry.version("1").tags["promoted_why"] == (
        "back from a champion that was deleted: who was that"
    )
    assert registry.not_standing() == ""
    with pytest.raises(NotFoundError, match="no champion before version 1"):
        registry.rollback(by="ann", why="x")


def test_a_new_version_after_the_champion_was_deleted_has_the_one_before_as_previous(
    registry: Registry,
) -> None:
    registry.promote("2", by="train", why="passed")
    MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri).delete_model_version(
        registry.model, "2"
    )
    registry.promote("3", by="train", why="passed")
    assert aliases(registry) == ("3", "1")


def test_a_champion_whose_files_are_gone_is_no_rival(registry: Registry, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    before = client.get_model_version_download_uri(registry.model, "1")
    copy = tmp_path / "models" / "m-1" / "artifacts"
    shutil.copytree(before.removeprefix("file://"), copy)
    tags = {"bundle": "digest4"}
    client.create_model_version(registry.model, copy.as_uri(), tags=tags)
    registry.promote("4", by="train", why="passed")
    standing = registry.standing()
    assert standing is not None
    assert (standing.number, registry.not_standing()) == ("4", "")
    bundle = copy / "artifacts/bundle"
    factors = (bundle / "item_factors.npy").read_bytes()
    for damaged, said in (
        (factors[:-1] + bytes([factors[-1] ^ 1]), "item_factors.npy does not match its checksum"),
        (factors[:100], f"item_factors.npy has 100 bytes instead of {len(factors)}"),
        (None, "item_factors.npy is missing"),
    ):
        (bundle / "item_factors.npy").unlink()
        if damaged is not None:
            (bundle / "item_factors.npy").write_bytes(damaged)
        standing = registry.standing()
        assert standing is not None
        assert standing.number == "1", said
        if damaged is None or len(damaged) < len(factors):
            with pytest.raises(LostBundleError, match=f"files are damaged .{said}.; expected"):
                registry.bundle("4")
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(LostBundleError, match=r"are damaged .*no readable manifest.json"):
        registry.manifest("4")
    shutil.rmtree(copy)
    with pytest.raises(LostBundleError, match=rf"expected {bundle}; put the files back"):
        registry.bundle("4")
    rival = registry.rival("new")
    assert rival is not None
    assert rival.number == "1"
    assert registry.not_standing() == (
        f"the files of version 4, the champion of {registry.model}, are gone or damaged; "
        "version 1, the one before it, stands in for it"
    )
    # The same night again registers its bundle anew.
    assert registry.find("digest4") is None


def test_there_must_be_something_to_go_back_to(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="no champion before version 1"):
        registry.rollback(by="ann", why="x")
    with pytest.raises(NotFoundError, match="no version 9 of"):
        registry.promote("9", by="ann", why="x")
    with pytest.raises(NotFoundError, match="nobody has no champion"):
        Registry(registry.uri, "nobody").rollback(by="ann", why="x")
    assert aliases(registry) == ("1", None)


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_a_promotion_that_is_cut_off_is_completed_by_the_next(
    alias: str, registry: Registry, database: Path
) -> None:
    registry.promote("2", by="train", why="passed")
    with refused(database, alias), pytest.raises(RegistryError, match="cut off"):
        registry.promote("3", by="train", why="passed")
    # Readers have the old champion, and nothing says that 3 was promoted.
    assert aliases(registry)[0] == "2"
    assert "promoted" not in registry.version("3").tags
    registry.promote("3", by="train", why="passed")
    assert aliases(registry) == ("3", "2")


@pytest.mark.parametrize(("alias", "between"), [("champion", "2"), ("previous", "1")])
def test_a_rollback_that_is_cut_off_is_completed_by_the_next(
    alias: str, between: str, registry: Registry, database: Path
) -> None:
    registry.promote("2", by="train", why="passed")
    with refused(database, alias), pytest.raises(RegistryError, match="cut off"):
        registry.rollback(by="ann", why="angry users")
    assert aliases(registry)[0] == between
    fallen, restored = registry.rollback(by="ann", why="angry users")
    assert (fallen.number, restored.number) == ("2", "1")
    assert aliases(registry) == ("1", "2")


def test_versions_are_found_by_their_bundle_and_the_rival_by_what_came_before(
    registry: Registry,
) -> None:
    found = registry.find("digest3")
    assert found is not None
    assert found.number == "3"
    assert registry.find("digest4") is None
    registry.tag("2", {"judged_against": "1"})
    rival = registry.rival("digest2")
    assert rival is not None
    assert rival.number == "1"
    registry.promote("2", by="train", why="passed")
    for digest, expected in (("digest2", "1"), ("digest3", "2")):
        rival = registry.rival(digest)
        assert rival is not None
        assert rival.number == expected
    registry.tag("2", {"judged_against": ""})
    assert registry.rival("digest2") is None


def test_the_reference_is_what_the_champion_was_not_shown_to_beat(registry: Registry) -> None:
    def reference(digest: str = "new") -> str | None:
        found = registry.reference(digest)
        return None if found is None else found.number

    # A champion of an earlier release says nothing of it.
    assert reference() == "1"
    registry.tag("2", {"gate": "passed", "judged_against_reference": "1", "reference": "1"})
    registry.promote("2", by="train", why="no worse")
    assert reference() == "1"
    # It has beaten the reference: what comes is compared with it.
    registry.tag("3", {"gate": "passed", "judged_against_reference": "1", "reference": "3"})
    registry.promote("3", by="train", why="better")
    assert reference() == "3"
    # The champion's own night again: what it was compared with then.
    assert reference("digest3") == "1"
    # Who is promoted against the verdict was chosen by a person.
    registry.tag("2", {"gate": "held"})
    registry.promote("2", by="ann", why="I want it")
    assert reference() == "2"
    # What was rolled back, or is gone, is no reference.
    registry.tag("2", {"gate": "passed", "reference": "3"})
    assert reference() == "3"
    registry.tag("3", {"rolled_back": "now"})
    assert reference() == "2"
    registry.tag("2", {"reference": "99"})
    assert reference() == "2"


def test_nights_before_are_those_of_other_data_that_were_not_held_for_them(
    registry: Registry,
) -> None:
    def before(digest: str = "new", most: int = 7) -> list[str]:
        return [version.number for version in registry.nights_before(digest, most)]

    assert before() == []  # of an earlier release
    for number, profile in (("1", "a"), ("2", "b"), ("3", "b")):
        registry.tag(number, {"drift_profile": profile})
    assert before() == ["1", "2"]
    assert before(most=1) == ["2"]
    assert before(most=0) == []
    # The same night again has the same nights before it.
    assert before("digest2") == ["1"]
    assert before("digest1") == []
    registry.tag("3", {"drift_profile": "c"})
    registry.tag("2", {"gate": "held", "gate/drift likes": "failed: 7, wanted about 400"})
    assert before() == ["1", "3"]
    registry.promote("2", by="ann", why="that is how it is from now on")
    assert before() == ["1", "2", "3"]


def test_files_of_a_run_are_read_where_they_are_there(registry: Registry, tmp_path: Path) -> None:
    version = registry.version("1")
    (tmp_path / "profile.json").write_text('{"likes": 3}')
    client = MlflowClient(tracking_uri=registry.uri)
    client.log_artifact(version.run_id, str(tmp_path / "profile.json"), "drift")
    assert registry.read_json(version, "drift/profile.json") == {"likes": 3}
    assert registry.read_json(version, "drift/other.json") is None
    assert registry.read_json(version, "nothing/profile.json") is None
    assert registry.read_json(Version("9", "0" * 32), "drift/profile.json") is None


def test_without_a_champion_there_is_no_reference(registry: Registry) -> None:
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    client.delete_registered_model_alias(registry.model, "champion")
    assert registry.reference("new") is None


def test_the_challenger_moves_alone(registry: Registry) -> None:
    registry.challenge("3")
    challenger = registry.at("challenger")
    assert challenger is not None
    assert challenger.number == "3"
    assert aliases(registry) == ("1", None)
    assert whoami()


def test_a_reader_picks_up_a_change_without_restart(registry: Registry) -> None:
    patient = Champion(registry.model, registry.uri, every=3600)
    eager = Champion(registry.model, registry.uri, every=0)
    assert (patient.version, eager.version) == (None, None)
    first = eager.current()
    assert first.recommend("ann", 1)[0].id == "b"
    assert patient.current().manifest["seed"] == 3
    assert eager.current() is first
    registry.promote("2", by="ann", why="x")
    assert eager.current() is not first
    assert (patient.version, eager.version) == ("1", "2")
    patient.current()
    assert patient.version == "1"  # it looked a moment ago
    registry.rollback(by="ann", why="x")
    eager.current()
    assert eager.version == "1"


def test_a_follower_picks_up_a_change_without_being_asked(
    registry: Registry, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follower = Champion(registry.model, registry.uri, every=0.02)
    with follower.followed():
        assert follower.version == "1"
        registry.promote("2", by="ann", why="x")
        wait_until(lambda: follower.version == "2")
        away = database.with_name("away.db")
        database.rename(away)
        wait_until(lambda: "still version 2" in caplog.text)
        assert follower.held  # no question is kept waiting for the registry
        away.rename(database)
        registry.rollback(by="ann", why="x")
        wait_until(lambda: follower.version == "1")


def test_a_reader_survives_the_registry(
    registry: Registry, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Champion(registry.model, registry.uri, every=0)
    first = reader.current()
    away = database.with_name("away.db")
    database.rename(away)
    try:
        assert reader.current() is first
        assert "still version 1" in caplog.text
        with pytest.raises(RegistryError, match="no model registry"):
            Champion(registry.model, registry.uri).current()
    finally:
        away.rename(database)
    with pytest.raises(NotFoundError, match="nobody has no champion"):
        Champion("nobody", registry.uri).current()
    registry.promote("2", by="ann", why="x")
    reader.current()
    assert reader.version == "2"


def test_readers_always_find_a_champion_while_it_moves(registry: Registry) -> None:
    found: list[str | None] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            found.append(aliases(registry)[0])

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(6):
        registry.promote("23"[turn % 2], by="train", why="passed")
    stop.set()
    reader.join()
    assert len(found) > 5
    assert set(found) <= {"1", "2", "3"}
