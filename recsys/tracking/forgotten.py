"""Forgotten users: taken out of the files that earlier nights have left with their runs."""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException

from recsys.data.night_profile import without_users
from recsys.tracking.client import PatientClient
from recsys.tracking.faults import MISSING, tracking_errors
from recsys.tracking.registry import Registry
from recsys.tracking.runs import Tracker

FOLDERS = ("drift", "gate", "report")
"""Of a run's files, those that may name users: profile, verdict with scores by user, report."""
FORGOTTEN = "(forgotten)"
"""What stands in a report in the place of an id."""


def forget_in_runs(registry: Registry, users: Collection[str]) -> int:
    """Take users out of the files of a model's nights; how many files were changed.

    The hash of an id goes from the profile of a night's data, its row from the gate's scores, and
    the id from tables of verdict and report. All runs of the experiments that versions of the model
    come from are looked at, those of versions that were deleted among them. Done again, it changes
    nothing.

    Parameters
    ----------
    registry : Registry
    users : collection of str
        Their ids.

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    changed = 0
    client = PatientClient(registry.uri, registry.patience)
    with tracking_errors(registry.uri):
        for experiment in _experiments(registry, client):
            tracker = Tracker(client, experiment, registry.uri)
            for run_id in tracker.runs_of_nights():
                for folder in FOLDERS:
                    for entry in client.list_artifacts(run_id, folder):
                        changed += _forget_in_file(tracker, run_id, str(entry.path), users)
    return changed


def _experiments(registry: Registry, client: PatientClient) -> list[str]:
    """The experiments that the versions of a model come from."""
    found: dict[str, None] = {}
    for version in registry.versions():
        try:
            found[str(client.get_run(version.run_id).info.experiment_id)] = None
        except MlflowException as fault:
            if fault.error_code not in MISSING:  # a run that was deleted for good
                raise
    return list(found)


def _forget_in_file(tracker: Tracker, run_id: str, name: str, users: Collection[str]) -> bool:
    with tempfile.TemporaryDirectory() as local:
        path = Path(tracker.client.download_artifacts(run_id, name, local))
        if not without_users_in(path, users):
            return False
        tracker.client.log_artifact(run_id, str(path), name.rpartition("/")[0])
    return True


def without_users_in(path: Path, users: Collection[str]) -> bool:
    """Take users out of one of these files; whether it had any of them.

    Parameters
    ----------
    path : Path
        `profile.json`, `churn.json`, a table of Parquet with a column `user`, or a report as HTML
        or Markdown; files of other kinds stay as they are.
    users : collection of str
    """
    if path.suffix == ".parquet":
        return _in_table(path, users)
    if path.suffix not in (".json", ".html", ".md"):
        return False
    before = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        after = _in_json(before, users)
    else:
        after = _in_html(before, users) if path.suffix == ".html" else _in_markdown(before, users)
    if after == before:
        return False
    path.write_text(after, encoding="utf-8")
    return True


def _in_table(path: Path, users: Collection[str]) -> bool:
    table = pq.read_table(path)
    if "user" not in table.column_names:
        return False
    asked = pa.array(sorted(users), pa.string())
    named = pc.is_in(table.column("user").cast(pa.string()), value_set=asked)
    if not pc.any(named).as_py():
        return False
    pq.write_table(table.filter(pc.invert(named)), path)
    return True


def _in_json(text: str, users: Collection[str]) -> str:
    values = json.loads(text)
    if not isinstance(values, dict):
        return text
    if "user_sketch" in values:
        left = without_users(values, users)
        return text if left is values else json.dumps(left, ensure_ascii=False)
    if any(one["user"] in users for one in values.get("most_changed", ())):
        values["most_changed"] = [one for one in values["most_changed"] if one["user"] not in users]
        return json.dumps(values, ensure_ascii=False, indent=1)
    return text


def _in_html(text: str, users: Collection[str]) -> str:
    def forgotten(found: re.Match[str]) -> str:
        return f"<td>{FORGOTTEN}</td>" if html.unescape(found[1]) in users else found[0]

    return re.sub(r"<td>([^<]*)</td>", forgotten, text)


def _in_markdown(text: str, users: Collection[str]) -> str:
    """Cells of tables alone: an id may be a number that stands elsewhere as well."""
    lines = text.splitlines(keepends=True)
    for place, line in enumerate(lines):
        if line.startswith("| "):
            cells = re.split(r"(?<!\\)( \| |^\| | \|$)", line.rstrip("\n"))
            plain = [re.sub(r"\\(.)", r"\1", html.unescape(cell)) for cell in cells]
            if any(cell in users for cell in plain):
                kept = [
                    FORGOTTEN if seen in users else cell
                    for cell, seen in zip(cells, plain, strict=True)
                ]
                lines[place] = "".join(kept) + ("\n" if line.endswith("\n") else "")
    return "".join(lines)
