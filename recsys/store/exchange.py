"""The exchange: where processes hand each other stages and models, a folder or an fsspec URL."""

from __future__ import annotations

import io
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from recsys.base.arrays import AnyArray
from recsys.base.errors import InputError
from recsys.store.stages import MANIFEST, O_co, Stage, load_stage


@dataclass(frozen=True)
class Exchange:
    """A place that all workers of a study reach.

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
        """A place within this one."""
        return Exchange(f"{self.address.rstrip('/')}/{name}")

    def save(self, name: str, arrays: Mapping[str, Any]) -> str:
        """Write arrays; nobody sees half of them. Returns where they are."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f".{uuid.uuid4().hex}.npz"
            np.savez(part, **arrays)
            part.replace(self.folder / name)
        else:
            content = io.BytesIO()
            np.savez(content, **arrays)
            system, path = self._located(name)
            # An object store shows an object when it is whole.
            system.pipe_file(path, content.getvalue())
        return f"{self.address.rstrip('/')}/{name}"

    def load(self, name: str) -> dict[str, AnyArray] | None:
        """What was saved; None if it is not there."""
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

    def drop(self, name: str) -> None:
        """Remove what was saved, if it is there."""
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
            return
        system, path = self._located(name)
        if system.exists(path):
            system.rm_file(path)

    def clear(self) -> None:
        """Remove everything in this place."""
        system, path = fsspec.url_to_fs(self.address)
        if system.exists(path):
            system.rm(path, recursive=True)

    def give(self, stage: Stage[O_co]) -> Stage[O_co]:
        """A reference to a stage by which any worker can `fetch_stage` it; copied to a URL once."""
        if self.folder is not None:
            return replace(stage, path=str(Path(stage.path).resolve()))
        place = self.below(f"{stage.name}-{stage.digest}")
        system, path = fsspec.url_to_fs(place.address)
        # The manifest last: where it is, the rest is.
        if not system.exists(f"{path}/{MANIFEST}"):
            files = [p for p in Path(stage.path).rglob("*") if p.is_file()]
            for file in sorted(files, key=lambda p: p.name == MANIFEST):
                system.put_file(str(file), f"{path}/{file.relative_to(stage.path).as_posix()}")
        return replace(stage, path=place.address)

    def _located(self, name: str) -> tuple[Any, str]:
        system, path = fsspec.url_to_fs(self.address)
        return system, f"{path.rstrip('/')}/{name}"


def fetch_stage(stage: Stage[O_co], cache: Path | None = None) -> Stage[O_co]:
    """The stage in a folder of this machine, its files checked; fetched where it is at a URL.

    Parameters
    ----------
    stage : Stage
        As `Exchange.give` returned it.
    cache : Path or None
        Where fetched stages are kept; by default the user's own folder for temporary files.

    Raises
    ------
    InputError
        If it is not there or damaged.
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
                    "a place that the run and its workers share",
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
