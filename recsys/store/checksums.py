"""Checksums: recorded for the files of a folder, and compared before the files are used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def checksum(path: Path) -> str:
    """BLAKE2b of a file's content, 32 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def file_checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and checksum of every file below a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "checksum": checksum(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def find_damage(
    folder: Path, recorded: Mapping[str, Mapping[str, Any]], *, contents: bool = True
) -> str | None:
    """Describe the first file that is missing or was changed; None if there is none.

    Parameters
    ----------
    folder : Path
    recorded : mapping of str to mapping
        As returned by `file_checksums`; its content is not trusted.
    contents : bool
        Whether the files are read; otherwise they have to be there and of the recorded size.
    """
    root = folder.resolve()
    for name, expected in recorded.items():
        path = folder / name
        if not isinstance(expected, Mapping) or set(expected) != {"bytes", "checksum"}:
            return f"the record of {name} is not a size and a checksum"
        # The record may have been manipulated: its names must not lead out of the folder.
        if not path.resolve().is_relative_to(root):
            return f"{name} lies outside it"
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size:,} bytes instead of {expected['bytes']}"
        if contents and checksum(path) != expected["checksum"]:
            return f"{name} does not match its checksum"
    return None


def seal(manifest: Mapping[str, Any]) -> str:
    """A hash (32 hex digits) of a manifest but for its entry `seal`, where the hash is kept."""
    content = {name: value for name, value in manifest.items() if name != "seal"}
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
