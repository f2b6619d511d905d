"""Exchange: a folder or fsspec URL through which processes share stages and models."""

from __future__ import annotations

import io
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import numpy as np

from recsys.base.arrays import AnyArray
from recsys.base.errors import InputError
from recsys.store.stages import MANIFEST, O_co, Stage, load_stage


@dataclass(frozen=True)
class Exchange:
    """A location that all workers of a study can access.

    Parameters
    ----------
    address : str
        A folder (on one machine, or on a file system that all mount) or any fsspec URL.
    """

    address: str

    @property
    def folder(self) -> Path | None:
        """The folder; None if it is a URL."""
        return None if "://" in self.address else Path(self.address)

    def below(self, name: str) -> Exchange:
        """A location below this one."""
        return Exchange(f"{self.address.rstrip('/')}/{name}")

    def save(self, name: str, arrays: Mapping[str, Any]) -> str:
        """Write arrays atomically.

        Parameters
        ----------
        name : str
            Of the file.
        arrays : mapping of str to array

        Returns
        -------
        str
            The path or URL of the file.
        """
        self._write(name, lambda file: np.savez(file, **arrays))
        return f"{self.address.rstrip('/')}/{name}"

    def load(self, name: str) -> dict[str, AnyArray] | None:
        """The arrays saved under a name; None if there are none."""
        try:
            if self.folder is not None:
                source: Any = self.folder / name
            else:
                system, path = self._located(name)
                source = io.BytesIO(system.cat_file(path))
            with np.load(source, allow_pickle=False) as found:
                return dict(found)
        except FileNotFoundError:
            return None

    def save_array(self, name: str, array: AnyArray) -> None:
        """Write one array, for `load_array`; it is not there before it is whole."""
        self._write(name, lambda file: np.save(file, array))

    def load_array(self, name: str) -> AnyArray | None:
        """The array saved under a name; None if there is none.

        In a folder it stays in its file, of which all processes of a machine share what they use.
        """
        try:
            if self.folder is not None:
                return np.asarray(np.load(self.folder / name, mmap_mode="r", allow_pickle=False))
            system, path = self._located(name)
            found: AnyArray = np.load(io.BytesIO(system.cat_file(path)), allow_pickle=False)
            return found
        except FileNotFoundError:
            return None

    def drop(self, name: str) -> None:
        """Remove the arrays saved under a name, if there are any."""
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
            return
        system, path = self._located(name)
        if system.exists(path):
            system.rm_file(path)

    def clear(self) -> None:
        """Remove everything at this location."""
        system, path = fsspec.url_to_fs(self.address)
        if system.exists(path):
            system.rm(path, recursive=True)

    def publish(self, stage: Stage[O_co]) -> Stage[O_co]:
        """Make a stage available to all workers; it is copied unless the exchange is a folder.

        Returns
        -------
        Stage
            The reference that `fetch_stage` takes.
        """
        if self.folder is not None:
            return replace(stage, path=str(Path(stage.path).resolve()))
        place = self.below(f"{stage.name}-{stage.digest}")
        system, path = fsspec.url_to_fs(place.address)
        # The manifest is written last, so that its presence means that the stage is complete.
        if not system.exists(f"{path}/{MANIFEST}"):
            files = [p for p in Path(stage.path).rglob("*") if p.is_file()]
            for file in sorted(files, key=lambda p: p.name == MANIFEST):
                system.put_file(str(file), f"{path}/{file.relative_to(stage.path).as_posix()}")
        return replace(stage, path=place.address)

    def _write(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """Write a file that is not there before it is whole."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f".{uuid.uuid4().hex}{Path(name).suffix}"
            with part.open("wb") as file:
                write(file)
            part.replace(self.folder / name)
        else:
            content = io.BytesIO()
            write(content)
            system, path = self._located(name)
            # Object stores write atomically.
            system.pipe_file(path, content.getvalue())

    def _located(self, name: str) -> tuple[Any, str]:
        system, path = fsspec.url_to_fs(self.address)
        return system, f"{path.rstrip('/')}/{name}"


def fetch_stage(stage: Stage[O_co], cache: Path | None = None) -> Stage[O_co]:
    """The stage in a local folder, downloaded if it is at a URL, its files checked.

    Parameters
    ----------
    stage : Stage
        As returned by `Exchange.publish`.
    cache : Path or None
        Folder for downloaded stages; default: one in the system's temporary folder.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    if "://" not in stage.path:
        return load_stage(Path(stage.path), type(stage.outcome))
    cache = cache or Path(tempfile.gettempdir()) / f"liked-this-{os.getuid()}"
    target = cache / f"{stage.name}-{stage.digest}"
    if not target.exists():
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as part:
            system, path = fsspec.url_to_fs(stage.path)
            folder = Path(part) / "stage"
            try:
                system.get(f"{path.rstrip('/')}/", str(folder), recursive=True)
            except FileNotFoundError as fault:
                raise InputError(
                    f"no stage at {stage.path}",
                    "a location that the run and its workers share",
                    "see search.exchange",
                ) from fault
            try:
                folder.rename(target)
            except OSError:
                if not target.exists():  # another worker may have fetched it meanwhile
                    raise
    found = load_stage(target, type(stage.outcome))
    if found.digest != stage.digest:
        raise InputError(
            f"{target} holds another stage ({found.digest})",
            f"the stage {stage.digest}",
            "delete the folder: it will be fetched again",
        )
    return found
