"""What is loaded is data: nothing in the package executes what it reads, nor leaves its folders."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recsys.base.errors import ConfigError, InputError
from recsys.bundle import load_bundle
from recsys.cli.commands import COMMANDS
from recsys.models.model import MODELS, model_from_dict
from recsys.store.checksums import checksum, seal
from recsys.store.stages import Outcome, stage
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.source import python_files

PACKAGE = [path for part in ("recsys", "tasks", "flows") for path in python_files(part)]
# What runs code that it reads, or turns bytes into any object they name.
MODULES = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve",
    "code", "runpy", "ctypes", "xml", "xmlrpc", "telnetlib", "ftplib",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "import_module", "load_pickle", "unsafe_load"}
# These import modules of the package itself, by names that stand in it: those of its public names,
# its commands and its models.
NAMED_INSIDE = {
    ROOT / "recsys" / part for part in ("_lazy.py", "cli/commands.py", "models/model.py")
}
# These load and call the two libraries that were compiled from C, and LAPACK as SciPy brings it;
# the names stand in the code.
CALLS_ITS_LIBRARY = {
    ROOT / "recsys" / part
    for part in (
        "base/libraries.py", "models/kernel.py", "models/cholesky.py", "ranking/compiled.py"
    )
}  # fmt: skip
CALLS |= {"system", "popen", "unpack_archive", "extractall", "mktemp"}


def forbidden(text: str) -> Iterator[str]:
    """What a program must not have, with its line."""
    for node in ast.walk(ast.parse(text)):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module.split(".")[0]} & (MODULES | {"yaml"})
        elif isinstance(node, ast.Call):
            called = node.func
            # re.compile and the like are methods of modules; the builtin has no owner.
            if isinstance(called, ast.Name) or (
                isinstance(called, ast.Attribute) and called.attr not in ("compile", "eval")
            ):
                names = {called.id if isinstance(called, ast.Name) else called.attr} & CALLS
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                # Of YAML's readers one makes plain values only.
                names |= {called.attr} - {"safe_load"} if called.value.id == "yaml" else set()
            if node.args and isinstance(node.args[0], ast.Constant):
                names -= {"import_module"}  # of a module that the program itself names
            names |= {
                f"{word.arg}={word.value.value}"
                for word in node.keywords
                if word.arg in ("allow_pickle", "shell", "verify")
                and isinstance(word.value, ast.Constant)
                and word.value.value is not (word.arg == "verify")
            }
        line = getattr(node, "lineno", 0)
        yield from (f"line {line}: {name}" for name in sorted(names))


@pytest.mark.parametrize("path", PACKAGE, ids=str)
def test_nothing_that_is_loaded_executes(path: Path) -> None:
    found = list(forbidden(path.read_text(encoding="utf-8")))
    if path in NAMED_INSIDE:
        found = [what for what in found if not what.endswith("import_module")]
    if path in CALLS_ITS_LIBRARY:
        found = [what for what in found if not what.endswith("ctypes")]
    assert found == []


def test_a_module_named_by_data_is_not_imported() -> None:
    """A bundle's manifest and a configuration name models, which are those of the package only."""
    named = [*MODELS.values(), *(command.module for command in COMMANDS.values())]
    assert all(name.startswith("recsys.") for name in named)
    for name in ("os", "os:system", "recsys.models.ease:Ease", "", None):
        with pytest.raises(ConfigError, match="no model"):
            model_from_dict({"model": name})


@pytest.mark.parametrize(
    "program",
    [
        "yaml.load(text)", "yaml.full_load(text)", "import pickle", "from yaml import load",
        "eval('1')", "exec(text)", "compile(a, b, c)",
        "np.load(path, allow_pickle=True)", "subprocess.run(line, shell=True)", "os.system(line)",
        "importlib.import_module(name)", "httpx.get(url, verify=False)", "archive.extractall()",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(program: str) -> None:
    assert list(forbidden(program))
    allowed = "re.compile(x); np.load(path, allow_pickle=False); json.loads(x); yaml.safe_load(x)"
    assert not list(forbidden(allowed))


def retold(folder: Path, name: str, path: Path) -> None:
    """List a file in a bundle's manifest, as somebody would who can write there."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][name] = {"bytes": path.stat().st_size, "checksum": checksum(path)}
    manifest["seal"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.npy"
    np.save(path, np.zeros((2, 2), np.float32))
    return path


@pytest.mark.parametrize("name", ["../secret.npy", "{absolute}", "a/../../secret.npy"])
def test_a_bundles_manifest_does_not_lead_out_of_it(
    name: str, secret: Path, tmp_path: Path
) -> None:
    folder = write_bundle(tmp_path / "bundle")
    retold(folder, name.format(absolute=secret), secret)
    with pytest.raises(InputError, match="lies outside it"):
        load_bundle(folder)


def test_a_link_in_a_bundle_is_not_followed_out_of_it(secret: Path, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    (folder / "user_factors.npy").unlink()
    (folder / "user_factors.npy").symlink_to(secret)
    retold(folder, "user_factors.npy", secret)
    with pytest.raises(InputError, match="lies outside it"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["items.parquet", "seen_indices.npy", "user_biases.npy"])
def test_a_file_without_a_checksum_is_not_opened(name: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match="manifest"):
        load_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(InputError):
        load_bundle(folder)


def test_an_array_of_objects_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(ran),)

    folder = write_bundle(tmp_path / "bundle")
    path = folder / "user_factors.npy"
    np.save(path, np.array([Runs()], object), allow_pickle=True)
    retold(folder, path.name, path)
    with pytest.raises(InputError, match="no bundle"):
        load_bundle(folder)
    assert not ran.exists()


BROKEN = {
    "files that are a list": {"files": ["user_factors.npy"]},
    "files without checksums": {"files": dict.fromkeys(("user_factors.npy",), 1)},
    "a version in words": {"schema_version": "new"},
    "side information that is none": {"side_information": 5},
    "trained items in words": {"trained_items": "all"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_bundles_manifest_that_makes_no_sense_is_one_clear_error(
    case: str, tmp_path: Path
) -> None:
    folder = write_bundle(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    changed = BROKEN[case]
    if isinstance(changed.get("files"), dict):
        changed = {"files": manifest["files"] | changed["files"]}  # type: ignore[operator]
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changed}), encoding="utf-8")
    with pytest.raises(InputError):
        load_bundle(folder)


@stage(Outcome, version=1)
def product(folder: Path) -> Outcome:
    """A stage with one file."""
    (folder / "a.txt").write_text("a", encoding="utf-8")
    return Outcome()


def test_a_stages_link_is_not_followed_out_of_it(secret: Path, tmp_path: Path) -> None:
    made = product(tmp_path / "interim")
    text = secret.with_name("a.txt")
    text.write_text("a", encoding="utf-8")
    made.file("a.txt").unlink()
    made.file("a.txt").symlink_to(text)
    with pytest.raises(InputError, match="lies outside it"):
        product.load(Path(made.path))
