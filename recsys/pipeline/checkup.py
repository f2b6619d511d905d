"""Check-up: what an installation needs in order to train and answer, looked at piece by piece."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from recsys.base.config import Config
from recsys.base.disk import storage_errors
from recsys.base.errors import RecsysError
from recsys.base.redaction import redacted
from recsys.tracking.address import database_path, is_server

PACKAGE = "liked-this"
SHOWN = ("lightfm-next", "mlflow", "prefect")  # whose versions are said
ROOM = 2**30  # bytes that should be free: a night's products take as much on large data
SKEW = 60.0  # seconds by which clocks may differ


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Parameters
    ----------
    name : str
    ok : bool or None
        None if it is not there and need not be.
    said : str
    action : str
        What to do where it is wrong.
    exit_code : int
    """

    name: str
    ok: bool | None
    said: str
    action: str = ""
    exit_code: int = 0

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: "-"}[self.ok]
        text = f"{mark} {self.name:14} {self.said}"
        return f"{text}; {self.action}" if self.action else text


def examined(name: str, check: Callable[[], Finding]) -> Finding:
    """What a check finds; an error in one line is a finding as well."""
    try:
        return check()
    except RecsysError as fault:
        said = f"{fault.found}; expected {fault.expected}" if fault.expected else fault.found
        return Finding(name, False, said, fault.action, fault.exit_code)


def check_up(config: Config) -> Iterator[Finding]:
    """Look at versions, search space, data, disks, registry, champion and clock, one by one.

    Nothing is made or changed, but for a file that is written to a folder and removed.

    Parameters
    ----------
    config : Config
    """
    yield examined("versions", _versions)
    yield examined("search", lambda: _search(config))
    yield examined("data", lambda: _data(config))
    yield examined("disk", lambda: _disk(config))
    registry = examined("registry", lambda: _registry(config))
    yield registry
    if registry.ok is False:
        yield Finding("champion", None, "not looked at, as the registry cannot be used")
    else:
        yield examined("champion", lambda: _champion(config))
    yield examined("clock", lambda: _clock(config, registry.ok is True))


def _versions() -> Finding:
    from packaging.requirements import Requirement

    wrong = []
    try:
        required = importlib.metadata.requires(PACKAGE) or []
        own = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        required, own = [], "not installed as a package"
    for requirement in map(Requirement, required):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found}, not {requirement.specifier}")
    if wrong:
        action = "install what is pinned (make setup, or pip install -r requirements.lock)"
        return Finding("versions", False, "; ".join(wrong), action, 2)
    shown = ", ".join(f"{name} {_version(name)}" for name in SHOWN)
    return Finding("versions", True, f"{own}, Python {platform.python_version()}, {shown}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _search(config: Config) -> Finding:
    from recsys.tuning.configured import require_sound_spaces

    require_sound_spaces(config)
    return Finding("search", True, "what is tried can be trained with")


def _data(config: Config) -> Finding:
    from recsys.data.sources import check_input

    effective = config.effective()
    check_input(config.dataset, config.data, effective.split, goes_by_age=config.goes_by_age)
    source = redacted(config.data.likes) if config.data else f"the data set {config.dataset}"
    return Finding("data", True, f"{source} can be read")


def _disk(config: Config) -> Finding:
    from recsys.store.locks import try_lock

    folders = [Path(config.storage.interim)]
    if (database := database_path(config.tracking.uri)) is not None:
        folders.append(database.parent)
    free = []
    for folder in folders:
        there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
        with storage_errors("a file", there), tempfile.TemporaryDirectory(dir=there) as scratch:
            lock = try_lock(Path(scratch) / "lock")
            assert lock is not None, "a new lock is its own"
            lock.release()
        bytes_ = shutil.disk_usage(there).free
        free.append(f"{bytes_ / 2**30:,.1f} GiB free for {folder}")
        if bytes_ < ROOM:
            return Finding("disk", False, free[-1], "make room: a full disk ends a run", 8)
        if not lock.exclusive:
            return Finding(
                "disk", False, f"the file system of {folder} has no locks (flock)",
                "keep it on one that has them, if runs may overlap", 8,
            )  # fmt: skip
    return Finding("disk", True, ", ".join(free))


def _registry(config: Config) -> Finding:
    uri = config.tracking.uri
    path = database_path(uri)
    if path is not None and not path.exists():
        return Finding("registry", None, f"{uri} is not there yet", "the first training makes it")
    from recsys.tracking.client import PatientClient
    from recsys.tracking.faults import tracking_errors
    from recsys.tracking.reachable import require_reachable

    require_reachable(uri)
    with tracking_errors(uri):
        client = PatientClient(uri)
        client.search_experiments(max_results=1)
        models = client.search_registered_models(max_results=1000)
    kind = "server" if is_server(uri) else "database"
    names = ", ".join(sorted(str(model.name) for model in models)[:5]) or "none"
    schema = f"of the schema of MLflow {_version('mlflow')}, " if kind == "database" else ""
    return Finding("registry", True, f"{kind} {redacted(uri)}, {schema}models: {names}")


def _champion(config: Config) -> Finding:
    path = database_path(config.tracking.uri)
    none = Finding(
        "champion", None, f"{config.model} has none yet", "train (recsys train), or name another"
    )
    if path is not None and not path.exists():
        return none
    from recsys.bundle import load_bundle
    from recsys.recommend.recommender import Recommender
    from recsys.tracking.registry import open_registry
    from recsys.tracking.versions import CHAMPION

    tracking = config.tracking.model_copy(update={"patience": 0.0})
    registry = open_registry(tracking, config.model)
    champion = registry.at(CHAMPION)
    if champion is None:
        gone = registry.not_standing()
        action = "go back to it (recsys rollback --why …), or train"
        return Finding("champion", False, gone, action, 4) if gone else none
    recommender = Recommender(load_bundle(registry.bundle(champion.number)))
    users = recommender.users.ids
    answered = len(recommender.recommend(str(users[0].as_py()), 5)) if len(users) else 0
    made = _age(champion.created)
    said = f"version {champion.number} of {config.model}{made}, {len(users):,} users"
    items = f"{len(recommender.items):,} items"
    if len(users) and not answered:
        return Finding("champion", False, f"{said}, answers nothing", "see its gallery", 3)
    return Finding("champion", True, f"{said}, {items}, answers")


def _age(created: int | None) -> str:
    if created is None:
        return ""
    hours = (datetime.now(UTC).timestamp() - created / 1000) / 3600
    return f", {hours / 24:,.0f} days old" if hours >= 48 else f", {max(hours, 0):,.0f} hours old"


def _clock(config: Config, asked: bool) -> Finding:
    """The clock of this machine, beside what a registry that can be `asked` says."""
    now = datetime.now(UTC)
    local = f"{now.astimezone():%Y-%m-%d %H:%M %Z}"
    action = "set the clock (timedatectl set-ntp true): schedules and ages go by it"
    uri = config.tracking.uri
    apart = _apart(uri, now) if asked and is_server(uri) else 0.0
    if abs(apart) > SKEW:
        found = f"{local}, {apart:+,.0f} seconds from the tracking server's"
        return Finding("clock", False, found, action, 1)
    latest = _latest_version(config) if asked else None
    if latest is not None and latest - now.timestamp() > SKEW:
        ahead = f"{datetime.fromtimestamp(latest, UTC):%Y-%m-%d %H:%M} UTC"
        return Finding("clock", False, f"{local}, and a version was made at {ahead}", action, 1)
    return Finding("clock", True, local)


def _apart(uri: str, now: datetime) -> float:
    """Seconds by which a server's clock is ahead; 0 where it does not say."""
    import httpx

    try:
        said = httpx.get(f"{uri.rstrip('/')}/health", timeout=5).headers.get("date")
        return (parsedate_to_datetime(said) - now).total_seconds() if said else 0.0
    except (httpx.HTTPError, ValueError):
        return 0.0


def _latest_version(config: Config) -> float | None:
    """When the newest version of the model was made, in seconds; None if there is none."""
    from recsys.tracking.registry import open_registry

    registry = open_registry(config.tracking.model_copy(update={"patience": 0.0}), config.model)
    made = [version.created for version in registry.versions() if version.created is not None]
    return max(made) / 1000 if made else None
