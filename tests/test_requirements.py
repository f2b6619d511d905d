"""The pinned requirements: complete, checked by hashes, from no particular index."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.fixtures.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TRAIN, TEAM, DEV = "requirements.lock", "requirements-team.lock", "requirements-dev.lock"


def pins(name: str) -> dict[str, str]:
    """The blocks of a file of pins by package: the pin, its hashes and where it comes from."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    return {re.split(r"[=\[]", block, maxsplit=1)[0]: block for block in blocks}


def named(requirements: list[str]) -> set[str]:
    """The packages that requirements of pyproject.toml name."""
    return {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in requirements}  # type: ignore[index]


@pytest.mark.parametrize("name", [TRAIN, TEAM, DEV])
def test_every_pin_has_hashes_and_no_index(name: str) -> None:
    for package, block in pins(name).items():
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9., _-]+\])?==\S+", block), package
        assert "--hash=sha256:" in block, package
    assert not re.search(r"https?://|-url|find-links", (ROOT / name).read_text(encoding="utf-8"))


def test_what_the_project_names_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert named(PROJECT["project"]["dependencies"]) <= set(pins(TRAIN))
    assert named(extras["postgres"] + extras["s3"]) <= set(pins(TRAIN)) | set(pins(TEAM))
    assert named(PROJECT["dependency-groups"]["dev"]) <= set(pins(TRAIN)) | set(pins(DEV))


def test_training_needs_nothing_of_development() -> None:
    only = named(PROJECT["dependency-groups"]["dev"]) | {"ray", "dask", "distributed", "moto"}
    assert not only & set(pins(TRAIN))


def test_files_that_are_installed_together_agree() -> None:
    first = pins(TRAIN)
    for name in (TEAM, DEV):
        for package, block in pins(name).items():
            version = block.split()[0].partition("==")[2]
            assert package not in first or version in first[package], f"{package} of {name}"
