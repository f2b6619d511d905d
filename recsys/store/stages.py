"""Stages: products written atomically under a name made of their inputs, handed on by reference.

A stage function writes files into an empty folder and returns its outcome, a frozen dataclass. The
folder becomes visible under its final name only when everything is in it, with a manifest of the
outcome and of checksums beside the files. The name is a hash of the stage's version, its parameters
and the content of its inputs, so one rule gives reuse across runs, resume after a crash, and
products that a person can open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from recsys.base.disk import storage_errors
from recsys.base.errors import InputError, StorageError
from recsys.store.checksums import file_checksums, find_damage, seal
from recsys.store.locks import locked
from recsys.store.scratch import scratch_folder
from recsys.store.syncing import sync

P = ParamSpec("P")
MANIFEST = "manifest.json"
SCRATCH = ".*-*"  # names of scratch folders and of the locks of products


@dataclass(frozen=True)
class Outcome:
    """What a stage found out; a base for one frozen dataclass a stage.

    An outcome is part of the product: it is written into the manifest, hashed with the files, and
    read back as the same type. Its fields are plain values, sequences and mappings of them, and
    dataclasses of such fields.
    """

    def counts(self) -> dict[str, Any]:
        """The outcome as plain values, for people and logs.

        A field that is None unless there is something to say is left out.
        """
        plain = asdict(self)
        silent = {f.name for f in fields(self) if f.default is None and plain[f.name] is None}
        return {name: value for name, value in plain.items() if name not in silent}

    def told(self) -> tuple[str, ...]:
        """What a person should be told, a sentence each."""
        return ()


O_co = TypeVar("O_co", bound=Outcome, covariant=True)


@dataclass(frozen=True)
class Timed(Generic[O_co]):
    """An outcome, and the seconds that parts of the work took.

    Seconds differ from run to run: they lie beside the product and are no part of its content.
    """

    outcome: O_co
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Stage(Generic[O_co]):
    """A small reference to a finished product.

    Parameters
    ----------
    name : str
        The stage that made it.
    path : str
        Its folder, relative where the interim folder is.
    key : str
        Hash of what it was made from; the folder is named after it.
    digest : str
        Hash of its content: the files and the outcome.
    outcome : Outcome
        What is worth knowing without opening it.
    seconds : mapping of str to float
        What parts of the work took; no part of the content.
    """

    name: str
    path: str
    key: str
    digest: str
    outcome: O_co
    seconds: Mapping[str, float] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return Path(self.path) / name

    def read_json(self, name: str) -> Any:
        """The content of one of its JSON files."""
        return json.loads(self.file(name).read_text(encoding="utf-8"))

    def counts(self) -> dict[str, Any]:
        """Outcome and seconds as plain values, for people and logs."""
        seconds = {"seconds": dict(self.seconds)} if self.seconds else {}
        return self.outcome.counts() | seconds


class StageFunction(Generic[P, O_co]):
    """A function that writes a stage's files, made into one that returns a `Stage`.

    Call it with the interim folder in the place of the folder its body writes to.
    """

    def __init__(
        self,
        write: Callable[Concatenate[Path, P], O_co | Timed[O_co]],
        outcome: type[O_co],
        version: int,
        unkeyed: frozenset[str],
        name: str | None = None,
    ) -> None:
        self._write = write
        self.outcome = outcome
        self.version = version
        self._unkeyed = unkeyed
        self.name = name or write.__name__
        self.__doc__ = write.__doc__
        self.__module__ = write.__module__  # where the reference finds it, as it does functions

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The hash (16 hex digits) that names the product of these arguments."""
        bound = inspect.signature(self._write).bind(Path(), *args, **kwargs)
        bound.apply_defaults()
        keyed = {
            name: _key_part(value)
            for name, value in list(bound.arguments.items())[1:]
            if name not in self._unkeyed
        }
        text = json.dumps([self.name, self.version, keyed], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def folder(self, interim: Path, *args: P.args, **kwargs: P.kwargs) -> Path:
        """Where the product of these arguments is, or will be."""
        return interim / f"{self.name}-{self.key(*args, **kwargs)}"

    def __call__(self, interim: Path, *args: P.args, **kwargs: P.kwargs) -> Stage[O_co]:
        key = self.key(*args, **kwargs)
        target = interim / f"{self.name}-{key}"
        with (
            storage_errors(f"the stage {self.name}", interim),
            _scratch(interim, self.name) as folder,
        ):
            made = self._write(folder, *args, **kwargs)
            timed = made if isinstance(made, Timed) else Timed(made, {})
            _write_manifest(folder, self.name, self.version, key, timed)
            _publish(folder, target)
        return self.load(target)

    def load(self, folder: Path) -> Stage[O_co]:
        """Read a product of this stage; see `load_stage`."""
        return load_stage(folder, self.outcome)


def stage(
    outcome: type[O_co], version: int, unkeyed: tuple[str, ...] = (), name: str | None = None
) -> Callable[
    [Callable[Concatenate[Path, P], O_co | Timed[O_co]]],
    StageFunction[P, O_co],
]:
    """Decorate the writer of a stage.

    Parameters
    ----------
    outcome : type of Outcome
        What the writer returns, alone or `Timed`.
    version : int
        Raised whenever the same inputs would give another product.
    unkeyed : tuple of str
        Parameters that do not change the product, such as a recorder or the number of threads.
    name : str or None
        Of the stage, where several functions make one; default: the function's.
    """
    return lambda write: StageFunction(write, outcome, version, frozenset(unkeyed), name)


def load_stage(folder: Path, outcome: type[O_co]) -> Stage[O_co]:
    """Read a finished product's reference, checking every file against its checksum.

    Parameters
    ----------
    folder : Path
    outcome : type of Outcome
        What the stage that made it found out.

    Raises
    ------
    InputError
        If a file is missing or differs from what was written, or the outcome is of another type.
    """
    manifest = read_manifest(folder)
    damaged = find_damage(folder, manifest["files"])
    if damaged:
        raise InputError(
            f"{folder} is damaged ({damaged})",
            "the files as they were written",
            "delete the folder and run again: it will be rebuilt",
        )
    try:
        found = TypeAdapter(outcome).validate_python(manifest["counts"])
        named = manifest["stage"], str(folder), manifest["key"], manifest["digest"]
        return Stage(*named, found, manifest["seconds"])
    except (ValidationError, KeyError) as fault:
        raise InputError(
            f"{folder} was written by another version of this stage",
            f"a product with the outcome {outcome.__name__}",
            "delete the folder and run again: it will be rebuilt",
        ) from fault


def intact(folder: Path) -> bool:
    """Whether a finished, undamaged product is in the folder."""
    try:
        return not find_damage(folder, read_manifest(folder)["files"])
    except InputError:
        return False


def write_json(path: Path, value: Any) -> None:
    """Write one of a product's JSON files; see `Stage.read_json`."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is written of a finished product, without its seal.

    Raises
    ------
    InputError
        If there is no manifest, or it was changed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["seal"] != seal(manifest):
            raise ValueError("a manifest that was changed")
        del manifest["seal"]
        return cast("dict[str, Any]", manifest)
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"{folder} has no readable {MANIFEST}",
            "a finished product",
            "check the path, or delete the folder and run again",
        ) from fault


def _key_part(value: Any) -> Any:
    """A value as JSON; stages by their content, settings without their `unkeyed` fields."""
    if isinstance(value, Stage):
        return value.digest
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude=set(getattr(value, "unkeyed", ())))
    return value


@contextlib.contextmanager
def _scratch(interim: Path, name: str) -> Iterator[Path]:
    """A folder beside the final one, removed at the end in any case."""
    make_folder(interim)
    with scratch_folder(interim, f".{name}-", pattern=SCRATCH) as folder:
        yield folder


def make_folder(interim: Path) -> None:
    """Make the folder of the products, if it is not there.

    Raises
    ------
    StorageError
        If it cannot be made, or is no folder.
    """
    try:
        interim.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise StorageError(
            f"{interim} cannot be made ({fault.strerror})",
            "a folder for products",
            "fix the permissions, or set storage.interim (batch.folder)",
        ) from fault


@contextlib.contextmanager
def product_lock(product: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Let one process at a time make a product: a second one waits, and finds it made.

    Parameters
    ----------
    product : Path
        The product's folder; see `StageFunction.folder`.
    on_wait : callable or None
        Called once if another process is making it.

    Raises
    ------
    StorageError
        If the folder that products lie in cannot be written to.
    """
    make_folder(product.parent)
    with contextlib.ExitStack() as stack:
        with storage_errors(f"the lock of {product.name}", product.parent):
            stack.enter_context(locked(product.with_name(f".{product.name}.lock"), on_wait))
        yield


def _write_manifest(folder: Path, name: str, version: int, key: str, made: Timed[Outcome]) -> None:
    files, outcome = file_checksums(folder), asdict(made.outcome)
    # A stage that takes the product as an input reads the outcome as it reads the files.
    content = json.dumps([name, outcome, files], sort_keys=True)
    manifest = {
        "stage": name,
        "version": version,
        "key": key,
        "digest": hashlib.blake2b(content.encode(), digest_size=16).hexdigest(),
        "counts": outcome,
        "seconds": dict(made.seconds),
        "files": files,
    }
    plain = json.loads(json.dumps(manifest))
    text = json.dumps({**plain, "seal": seal(plain)}, indent=1, sort_keys=False)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def _publish(folder: Path, target: Path) -> None:
    """Give the finished folder its name; one that is there already and intact is kept."""
    folder.chmod(0o755)
    with _naming_lock(target.parent):
        if intact(target):
            # Another process has finished the same product; equal name, equal content.
            return
        aside = folder.with_name(f"{folder.name}-damaged")
        if target.exists():
            # Out of the way first: a folder cannot be renamed onto a non-empty one.
            target.rename(aside)
        try:
            folder.rename(target)
        except OSError:
            # Without locks another process may have finished it between the two lines.
            if not intact(target):
                raise
        shutil.rmtree(aside, ignore_errors=True)
    sync(target.parent)


@contextlib.contextmanager
def _naming_lock(interim: Path) -> Iterator[None]:
    """One process at a time names products, so that none removes what another just finished."""
    handle = os.open(interim, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that has no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
