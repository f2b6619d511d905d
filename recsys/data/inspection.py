"""Inspection: what tables look like, what would be read, and a configuration that reads it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.config import Data
from recsys.base.errors import InputError, RecsysError
from recsys.data.accounts import left_out, require_known, similar_ids, unmatched
from recsys.data.column_names import KNOWN, find_known
from recsys.data.columns import numbers, seconds
from recsys.data.dialects import TextFormat
from recsys.data.features import FeatureColumns, read_feature_table
from recsys.data.interactions import (
    InteractionColumns,
    InteractionTable,
    read_interaction_table,
)
from recsys.data.kcore import kcore
from recsys.data.signals import InteractionRules
from recsys.data.tables import OpenTable, open_table

_EXAMPLES = 3
_SPARK = "▁▂▃▄▅▆▇█"
_BUCKETS = 24
_MOST_LEFT_OUT: float = Data.model_fields["largest_left_out"].default
# The setting of the columns that are features, by the role of a table.
_WIDE = {"features": "feature_columns", "user_features": "user_feature_columns"}
NO_HEADER = "the first line is data: columns are called by their position"


@dataclass(frozen=True)
class ColumnSummary:
    """What a column looks like.

    Parameters
    ----------
    name : str
    role : str
        What it probably is: user, item, name, rating, event, time, weight, type, value and so on;
        '' if not known.
    kind : str
        "numbers", "dates", "text" or the type of a column that is none of these.
    distinct, missing : int
        Distinct values, and rows without one.
    examples : tuple of str
        The commonest values.
    """

    name: str
    role: str
    kind: str
    distinct: int
    missing: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What a file looks like, and what would come of it.

    Parameters
    ----------
    source : str
    role : str
        "likes", "features" or "user_features".
    rows : int
    columns : tuple of ColumnSummary
    settings : mapping of str to object
        Of the section `data`, as far as they are for this file.
    questions : tuple of str
        What has to be decided before it is read.
    counts : mapping of str to int
        Users, items and interactions, and those of the core; or features.
    left_out : mapping of str to int
        Rows left out, by reason.
    over_time : str
        Interactions over time as a line of bars; '' without a time.
    notes : tuple of str
    unnamed : tuple of str
        Types of features that are called by the position of their column.
    """

    source: str
    role: str
    rows: int
    columns: tuple[ColumnSummary, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    questions: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    over_time: str = ""
    notes: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def inspect(sources: Sequence[str]) -> list[Inspection]:
    """Look at files: interactions first, then features of items or users, in any order.

    Parameters
    ----------
    sources : sequence of str
        Files, folders or URLs.

    Raises
    ------
    InputError
        If one of them cannot be read.
    """
    opened = [(source, *_open(source)) for source in sources]
    roles = _roles([(table, positions) for _, table, positions in opened])
    found: list[Inspection] = []
    likes: InteractionTable | None = None
    for (source, table, positions), role in sorted(
        zip(opened, roles, strict=True), key=lambda pair: pair[1] != "likes"
    ):
        if role == "likes":
            made, likes = _inspect_likes(source, table, positions)
            found.append(made)
            continue
        if positions and likes is not None:
            role = _side_of(table, likes)
        shared = found[0].settings.get("item_column")
        made = _inspect_features(source, table, role, shared, likes)
        if found[0].settings.get("header") is False and not positions:
            # Said of the likes, it holds for all files that do not say otherwise.
            made = replace(made, settings={f"{role}_text": {"header": True}, **made.settings})
        found.append(_told_apart(made, found))
    return found


def _told_apart(made: Inspection, before: Sequence[Inspection]) -> Inspection:
    """A table of features whose types are not called as those of another for their position."""
    taken = {name for each in before if each.role == made.role for name in each.unnamed}
    if not taken & set(made.unnamed):
        return made
    stem = Path(made.source).name.split(".")[0]
    called = {place: f"{stem} {place}" for place in made.unnamed}
    return replace(made, settings={**made.settings, _WIDE[made.role]: called}, unnamed=())


def _side_of(table: OpenTable, likes: InteractionTable) -> str:
    """Whether a table without a header describes items or users, by the ids in its first column."""
    own = table.read({"id": table.names[0]}, ("id",)).table.column("id")
    ids = pc.unique(own.cast(pa.string()))
    alike = {}
    for role, known in (
        ("features", likes.interactions.items.ids), ("user_features", likes.interactions.users.ids)
    ):  # fmt: skip
        both = pc.sum(pc.is_in(ids, value_set=known)).as_py() or 0
        alike[role] = both / max(len(ids) + len(known) - both, 1)
    return max(alike, key=lambda role: alike[role])


def configuration(found: Sequence[Inspection]) -> str:
    """A commented configuration that reads the inspected files, as TOML.

    Settings that have to be decided stand in it as comments, with the question. So do tables of
    which no features are read.
    """
    lines = ["# Written by `recsys inspect`; `recsys settings` lists all settings.", "", "[data]"]
    used = Counter(each.role for each in found if _is_used(each))
    # What belongs to the section itself comes before tables with a section of their own.
    for each in sorted(found, key=lambda each: used[each.role] > 1 and _is_used(each)):
        lines += [*_of_table(each, used[each.role]), ""]
    return "\n".join(lines)


def _is_used(found: Inspection) -> bool:
    return found.role == "likes" or bool(found.counts)


def _of_table(found: Inspection, tables: int) -> Iterator[str]:
    """The lines of a table, one of `tables` of its role."""
    yield f"# {found.source}: {found.rows:,} rows"
    off = "" if _is_used(found) else "# "
    settings, wide = found.settings, _WIDE.get(found.role, "")
    if tables > 1 and not off:
        yield f"[[data.{found.role}]]"
        yield f"source = {json.dumps(found.source)}"
        settings, wide = _own(settings, found.role), "columns"
    else:
        yield f"{off}{found.role} = {json.dumps(found.source)}"
    yield from (f"{off}{name} = {_literal(value)}" for name, value in settings.items())
    if found.unnamed:
        called = _literal({place: f"what {place} is" for place in found.unnamed})
        yield "# features are called by the position of their column; to name them:"
        yield f"# {wide} = {called}"
    yield from (f"# said: {' '.join(note.split())}" for note in found.notes)
    yield from (f"# to be decided: {' '.join(question.split())}" for question in found.questions)


def _own(settings: Mapping[str, Any], role: str) -> dict[str, Any]:
    """The settings of a table under the names that they have in a section of its own."""
    found = dict(settings.get(f"{role}_text", {}))
    for name, value in settings.items():
        if name == _WIDE[role]:
            found["columns"] = value
        elif name != f"{role}_text":
            found[name.removeprefix("feature_")] = value
    return found


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(name)} = {_literal(part)}" for name, part in value.items())
        return f"{{ {inside} }}"
    return json.dumps(value, ensure_ascii=False)


def _open(source: str) -> tuple[OpenTable, bool]:
    """The table, and whether its columns are known by their position alone."""
    try:
        return open_table(source), False
    except InputError as fault:
        if "header = false" not in str(fault):
            raise
        return open_table(source, TextFormat(header=False)), True


def _roles(tables: Sequence[tuple[OpenTable, bool]]) -> list[str]:
    """What each table is: the likes are the first one with users and items, or the first one.

    A table without a header may have both, as its columns have no names, unless it has one row
    for each id. One that has values as well, such as tags, is taken for the likes last.
    """
    known = [
        {kind: find_known(table.names, kind) for kind in ("user", "item", "type", "value")}
        for table, _ in tables
    ]
    both = [
        (positions and len(table.names) > 1 and not (len(tables) > 1 and _one_row_each(table)))
        or bool(has["user"] and has["item"] and not has["type"])
        for has, (table, positions) in zip(known, tables, strict=True)
    ]
    likes = min(range(len(tables)), key=lambda n: (not both[n], bool(known[n]["value"]), n))
    roles = ["user_features" if has["user"] and not has["item"] else "features" for has in known]
    roles[likes] = "likes"
    return roles


def _one_row_each(table: OpenTable) -> bool:
    """Whether the first column has each of its values once, as ids in a table of items have."""
    ids = table.read({"id": table.names[0]}, ("id",)).table.column("id")
    return len(ids) > 1 and len(pc.unique(ids.cast(pa.string()))) == len(ids)


def _summaries(table: OpenTable) -> tuple[int, tuple[ColumnSummary, ...]]:
    """The number of rows, and what each column looks like."""
    # What is there twice, such as columns without a name, can be asked for by nobody.
    once = [name for name in table.names if list(table.names).count(name) == 1]
    every = {str(place): name for place, name in enumerate(once)}
    read = table.read(every, ())
    found = read.table
    known = {find_known(table.names, role): role for role in reversed(list(KNOWN))}
    return read.rows, tuple(
        _summary(name, known.get(name, ""), found.column(place)) for place, name in every.items()
    )


def _summary(name: str, role: str, column: pa.ChunkedArray) -> ColumnSummary:
    if pa.types.is_nested(column.type):
        return ColumnSummary(name, role, str(column.type), 0, column.null_count, ())
    text = pc.fill_null(column.cast(pa.string()), "")
    counted = pc.value_counts(text).to_pylist()
    counted.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    missing = sum(entry["counts"] for entry in counted if not entry["values"])
    values = [entry["values"] for entry in counted if entry["values"]]
    return ColumnSummary(
        name, role, _kind(values), len(values), missing, tuple(v[:40] for v in values[:_EXAMPLES])
    )


def _kind(values: Sequence[str]) -> str:
    """What most of a column's distinct values are."""
    if not values:
        return "empty"
    some = pa.chunked_array([pa.array(list(values[:1000]), pa.string())])
    try:
        if np.isfinite(numbers(some)).mean() > 0.9:
            return "numbers"
        if np.isfinite(seconds(some)).mean() > 0.9:
            return "dates"
    except InputError:
        return "numbers or dates that can be read in two ways"
    return "text"


def _inspect_likes(
    source: str, table: OpenTable, positions: bool
) -> tuple[Inspection, InteractionTable | None]:
    rows, columns = _summaries(table)
    settings: dict[str, Any] = {}
    questions: list[str] = []
    guessed = _guess(columns, positions)
    roles = {name: role for role, name in guessed.items()}
    columns = tuple(replace(summary, role=roles.get(summary.name, "")) for summary in columns)
    if positions:
        settings["header"] = False
    for role in ("user", "item", "name"):
        if role in guessed:
            settings[f"{role}_column"] = guessed[role]
        elif role != "name":
            questions.append(f"which column is the {role}? set {role}_column")
    if "time" in guessed:
        settings["timestamp_column"] = guessed["time"]
    if "weight" in guessed:
        settings["weight_column"] = guessed["weight"]
    if not {"user", "item"} <= set(guessed):
        return Inspection(source, "likes", rows, columns, settings, tuple(questions)), None
    found = _read_likes(source, guessed, settings, questions)
    if found is None:
        return Inspection(source, "likes", rows, columns, settings, tuple(questions)), None
    made = Inspection(
        source,
        "likes",
        found.rows,
        columns,
        settings,
        tuple(questions),
        _counts(found),
        found.left_out(),
        _over_time(found),
        (
            *((NO_HEADER,) if positions else ()),
            *found.read_as,
            *found.notes,
            *similar_ids(found.interactions.users)[1],
            *similar_ids(found.interactions.items)[1],
        ),
    )
    return made, found


def _guess(columns: Sequence[ColumnSummary], positions: bool) -> dict[str, str]:
    """The columns of users, items and so on: by their names, or by what is in them."""
    guessed = {summary.role: summary.name for summary in columns if summary.role}
    if not positions:
        return guessed
    # User, item, rating, time: the order that files without a header mostly have.
    free = [summary for summary in columns if summary.kind in ("numbers", "text")]
    guessed = dict(zip(("user", "item"), [summary.name for summary in free[:2]], strict=False))
    for summary in free[2:]:
        if summary.kind == "numbers" and summary.distinct <= 21 and "rating" not in guessed:
            guessed["rating"] = summary.name
        elif summary.kind == "numbers" and _is_epoch(summary.examples):
            guessed["time"] = summary.name
        elif summary.kind == "numbers" and "weight" not in guessed:
            guessed["weight"] = summary.name
        elif summary.kind == "text" and _as_many(summary, free[1]):
            guessed["name"] = summary.name
    return guessed


def _as_many(one: ColumnSummary, other: ColumnSummary) -> bool:
    """Whether two columns have about as many distinct values, as ids and names have."""
    return abs(one.distinct - other.distinct) <= 0.1 * other.distinct


def _is_epoch(examples: Sequence[str]) -> bool:
    """Whether numbers look like seconds or milliseconds of the years 1990 to 2040."""
    found = pd.to_numeric(pd.Series(list(examples)), errors="coerce")
    return bool((found.between(6e8, 2.3e9) | found.between(6e11, 2.3e12)).all()) and len(found) > 0


def _read_likes(
    source: str, guessed: Mapping[str, str], settings: dict[str, Any], questions: list[str]
) -> InteractionTable | None:
    """The likes as they would be read; what has to be decided is asked, and decided as proposed."""
    columns = InteractionColumns(
        guessed["user"],
        guessed["item"],
        guessed.get("name", ""),
        guessed.get("weight"),
        timestamp=guessed.get("time"),
        rating=guessed.get("rating"),
        event=guessed.get("event"),
    )
    text = TextFormat(header=False if "header" in settings else None)
    rules = InteractionRules(damping="auto")
    for _ in range(4):
        try:
            return read_interaction_table(source, columns, text, rules)
        except InputError as fault:
            proposed = _proposed(fault)
            if proposed is not None:
                asked = guessed.get("rating") or _quoted(fault, "and data.rating_column") or ""
                settings["rating_column"] = asked
                columns = replace(columns, rating=asked)
                settings["liked_from"] = proposed
                rules = replace(rules, liked_from=proposed)
                questions.append(f"from which rating on is a row a like? {_question(fault)}")
            elif (separator := _quoted(fault, "data.item_separator")) is not None:
                settings["item_separator"] = separator
                rules = replace(rules, item_separator=separator)
                questions.append(f"is each of several items in a cell a like? {_question(fault)}")
            elif "data.timestamp_" in str(fault) and columns.timestamp is not None:
                questions.append(_question(fault))
                settings.pop("timestamp_column", None)
                columns = replace(columns, timestamp=None)
            else:
                questions.append(_question(fault))
                return None
    return None


def _proposed(fault: RecsysError) -> float | None:
    """The threshold of ratings that an error proposes."""
    _, mark, after = str(fault).partition("data.liked_from = ")
    return float(after.split()[0]) if mark else None


def _quoted(fault: RecsysError, setting: str) -> str | None:
    """The text that an error proposes for a setting; None if it proposes none."""
    _, mark, after = str(fault).partition(f'{setting} = "')
    return after.partition('"')[0] if mark else None


def _counts(found: InteractionTable) -> dict[str, int]:
    counts = found.interactions.counts()
    try:
        core = kcore(found.interactions, 5, 5).interactions.counts()
    except InputError:
        core = dict.fromkeys(counts, 0)
    return counts | {f"core_{name}": count for name, count in core.items()}


def _over_time(found: InteractionTable) -> str:
    """Interactions over time, a bar for each part of the time."""
    times = found.interactions.timestamp
    if times is None or not len(times) or times.min() == times.max():
        return ""
    heights, _ = np.histogram(times.astype(np.float64), bins=_BUCKETS)
    steps = np.ceil(heights / heights.max() * (len(_SPARK) - 1)).astype(int)
    first, last = (_moment(int(when)) for when in (times.min(), times.max()))
    return f"{first} {''.join(_SPARK[step] for step in steps)} {last}"


def _moment(when: int) -> str:
    for unit, low, high in (("s", 0, 4e9), ("ms", 6e11, 4e12)):
        if low < when < high:
            return f"{pd.Timestamp(when, unit=unit):%Y-%m-%d}"
    return str(when)


def _inspect_features(
    source: str, table: OpenTable, role: str, item: str | None, likes: InteractionTable | None
) -> Inspection:
    rows, columns = _summaries(table)
    kind = "user" if role == "user_features" else "item"
    text, named = TextFormat(), FeatureColumns()
    settings: dict[str, Any] = {}
    if table.names[0] == "1":
        # Without a header: the first column identifies, and what differs in all rows is a name.
        text = TextFormat(header=False)
        settings[f"{role}_text"] = {"header": False}
        named = replace(named, owner=table.names[0])
        name = next((s.name for s in columns[1:] if _is_name(s, rows)), None)
        if name is not None and kind == "item":
            named = replace(named, name=name)
            settings["feature_name_column"] = name
    else:
        owner = find_known(table.names, kind)
        shared = item if item in table.names else table.names[0]
        named = replace(named, owner=owner or shared)
    settings[f"feature_{kind}_column"] = named.owner
    try:
        found = read_feature_table(source, named, text, kind)
    except InputError as fault:
        return Inspection(source, role, rows, columns, settings, (_question(fault),))
    owners = found.features.owners
    counts = {f"{kind}s": len(owners), "features": len(found.features.names)}
    notes = [*((NO_HEADER,) if table.names[0] == "1" else ()), *found.read_as, *found.notes]
    if likes is not None:
        known = likes.interactions.users if kind == "user" else likes.interactions.items
        notes += unmatched(owners, known, source)
        try:
            require_known(owners, known, source)
            left_out(source, found.rows, found.rejected, {}, _MOST_LEFT_OUT)
        except InputError as fault:
            asked = (_question(fault),)
            return Inspection(source, role, rows, columns, settings, asked, notes=tuple(notes))
    if kind == "item" and find_known(table.names, "user"):
        notes.append(
            f"what users say in {source} is taken for features of the items, each once; "
            'data.feature_repeats = "sum" counts how often it is said'
        )
    if found.unnamed:
        notes.append(
            f"features of {source} are called by the position of their column, such as "
            f"{found.features.names[0].as_py()}; the configuration can name them"
        )
    return Inspection(
        source, role, found.rows, columns, settings, (), counts, found.left_out(),
        notes=tuple(notes), unnamed=found.unnamed,
    )  # fmt: skip


def _is_name(summary: ColumnSummary, rows: int) -> bool:
    return summary.kind == "text" and summary.distinct > 0.9 * rows


def _question(fault: RecsysError) -> str:
    return "; ".join(part for part in (fault.found, fault.action) if part)
