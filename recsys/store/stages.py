"""Stages: products written atomically under a name made of their inputs, handed on by reference.

A stage function writes files into an empty folder and returns counts. The folder becomes visible
under its final name only when everything is in it, with a manifest of checksums beside the files.
The name is a hash of the stage's version, its parameters and the content of its inputs, so one
rule gives reuse across runs, resume after a crash, and products that a person can open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, cast

from pydantic import BaseModel

from recsys.base.disk import storage_errors
from recsys.base.errors import InputError, StorageError
from recsys.store.checksums import file_checksums, find_damage, seal
from recsys.store.locks import locked

P = ParamSpec("P")
Counts = Mapping[str, Any]
MANIFEST = "manifest.json"
ABANDONED = 24 * 3600  # seconds after which a scratch folder is nobody's any more


@dataclass(frozen=True)
class Stage:
    """A small reference to a finished product.

    Parameters
    ----------
    name : str
        The stage that made it.
    path : str
        Its folder, relative where the interim folder is.
    digest : str
        Hash of its content.
    counts : dict
        What is worth knowing without opening it; plain numbers and text.
    """

    name: str
    path: str
    digest: str
    counts: dict[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        return Path(self.path) / name

    def read_json(self, name: str) -> Any:
        return json.loads(self.file(name).read_text(encoding="utf-8"))


class StageFunction(Generic[P]):
    """A function that writes a stage's files, made into one that returns a `Stage`.

    Call it with the interim folder in the place of the folder its body writes to.
    """

    def __init__(
        self, write: Callable[Concatenate[Path, P], Counts], version: int, unkeyed: frozenset[str]
    ) -> None:
        self._write = write
        self.version = version
        self._unkeyed = unkeyed
        self.name = write.__name__
        self.__doc__ = write.__doc__

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

    def __call__(self, interim: Path, *args: P.args, **kwargs: P.kwargs) -> Stage:
        target = self.folder(interim, *args, **kwargs)
        with (
            storage_errors(f"the stage {self.name}", interim),
            _Scratch(interim, self.name) as folder,
        ):
            counts = self._write(folder, *args, **kwargs)
            _write_manifest(folder, self.name, self.version, counts)
            _publish(folder, target)
        return load_stage(target)


def stage(
    version: int, unkeyed: tuple[str, ...] = ()
) -> Callable[[Callable[Concatenate[Path, P], Counts]], StageFunction[P]]:
    """Decorate the writer of a stage.

    Parameters
    ----------
    version : int
        Raised whenever the same inputs would give another product.
    unkeyed : tuple of str
        Parameters that do not change the product (who listens, how many threads).
    """
    return lambda write: StageFunction(write, version, frozenset(unkeyed))


def load_stage(folder: Path) -> Stage:
    """Read a finished product's reference, checking every file against its checksum.

    Raises
    ------
    InputError
        If a file is missing or differs from what was written.
    """
    manifest = read_manifest(folder)
    damaged = find_damage(folder, manifest["files"])
    if damaged:
        raise InputError(
            f"{folder} is damaged ({damaged})",
            "the files as they were written",
            "delete the folder and run again: it will be rebuilt",
        )
    return Stage(manifest["stage"], str(folder), manifest["digest"], manifest["counts"])


def intact(folder: Path) -> bool:
    """Whether a finished, undamaged product is in the folder."""
    try:
        return not find_damage(folder, read_manifest(folder)["files"])
    except InputError:
        return False


def read_manifest(folder: Path) -> dict[str, Any]:
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
    """A value as JSON says it; stages by their content, settings without those that only say who
    does the work (`unkeyed`)."""
    if isinstance(value, Stage):
        return value.digest
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude=set(getattr(value, "unkeyed", ())))
    return value


class _Scratch:
    """A folder beside the final one, gone again whatever happens."""

    def __init__(self, interim: Path, name: str) -> None:
        self._interim, self._name = interim, name

    def __enter__(self) -> Path:
        folder_for_products(self._interim)
        _sweep(self._interim)
        self._path = Path(tempfile.mkdtemp(prefix=f".{self._name}-", dir=self._interim))
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def folder_for_products(interim: Path) -> None:
    """Make the folder that products lie in, where it is not there.

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
            "mend the rights, or set storage.interim (batch.folder)",
        ) from fault


@contextlib.contextmanager
def making(product: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """One process at a time makes a product: a second one waits, and finds it made.

    Parameters
    ----------
    product : Path
        The product's folder; see `StageFunction.folder`.
    waiting : callable or None
        Called once if somebody else is making it.

    Raises
    ------
    StorageError
        If the folder that products lie in cannot be written to.
    """
    folder_for_products(product.parent)
    with contextlib.ExitStack() as stack:
        with storage_errors(f"the lock of {product.name}", product.parent):
            stack.enter_context(locked(product.with_name(f".{product.name}.lock"), waiting))
        yield


def _sweep(interim: Path) -> None:
    """Clear away what killed processes left: scratch folders that are a day old."""
    for left in interim.glob(".*-*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _write_manifest(folder: Path, name: str, version: int, counts: Counts) -> None:
    files = file_checksums(folder)
    content = json.dumps([name, files], sort_keys=True)
    manifest = {
        "stage": name,
        "version": version,
        "digest": hashlib.blake2b(content.encode(), digest_size=16).hexdigest(),
        "counts": counts,
        "files": files,
    }
    plain = json.loads(json.dumps(manifest))
    text = json.dumps({**plain, "seal": seal(plain)}, indent=1, sort_keys=False)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    """Make sure a file or folder is on disk before its name can be seen."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(folder: Path, target: Path) -> None:
    """Give the finished folder its name; one that is there already and intact is kept."""
    folder.chmod(0o755)
    with _naming_lock(target.parent):
        if intact(target):
            # Somebody else finished the same product in the meantime; equal name, equal content.
            return
        aside = folder.with_name(f"{folder.name}-damaged")
        if target.exists():
            # Out of the way first: a folder cannot be renamed onto a non-empty one.
            target.rename(aside)
        try:
            folder.rename(target)
        except OSError:
            # Without locks it may have been finished by somebody else between the two lines.
            if not intact(target):
                raise
        shutil.rmtree(aside, ignore_errors=True)
    _sync(target.parent)


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
