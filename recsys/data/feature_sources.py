"""Feature sources: the tables of features that a configuration names, and how each is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from recsys.base import config
from recsys.base.config import Side
from recsys.base.errors import InputError
from recsys.base.redaction import redacted
from recsys.base.table_settings import ItemTable, UserTable
from recsys.data.column_names import find_known
from recsys.data.columns import ValueFormat
from recsys.data.dialects import TextFormat
from recsys.data.features import (
    FeatureColumns,
    FeatureRows,
    find_feature_columns,
    read_feature_table,
    refuse_one_place,
    unnamed_types,
)
from recsys.data.formats import text_format, value_format
from recsys.data.tables import open_table

ROLES: dict[Side, str] = {"item": "features", "user": "user_features"}


@dataclass(frozen=True)
class FeatureSource:
    """A table of features of a configuration.

    Parameters
    ----------
    source : str
        File, folder or URL.
    side : {"item", "user"}
        Whose features they are.
    name : str
        What tells it from the others in what is counted: the name of its file; '' where it is the
        only one.
    columns : FeatureColumns
    text : TextFormat
    values : ValueFormat
    """

    source: str
    side: Side
    name: str
    columns: FeatureColumns
    text: TextFormat
    values: ValueFormat

    @property
    def part(self) -> str:
        """What its rows are counted under."""
        whose = f"{self.side} features"
        return f"{whose} of {self.name}" if self.name else whose

    def read(self) -> FeatureRows:
        """Read it, see `read_feature_table`."""
        with _settings_of(self):
            return read_feature_table(self.source, self.columns, self.text, self.side, self.values)


def feature_sources(data: config.Data, side: Side) -> list[FeatureSource]:
    """The tables of one side's features, as they are configured.

    What `data` says holds for each of them that says nothing of its own.
    """
    tables = data.feature_tables(side)
    names = _names([table.source for table in tables])
    role = ROLES[side]
    alone = isinstance(getattr(data, role), str)
    found = []
    for table, name in zip(tables, names, strict=True):
        own = getattr(data, f"{role}_text") if alone else table
        text = text_format(data, own, f"data.{role}_text" if alone else f"data.{role}")
        values = value_format(data, own)
        found.append(FeatureSource(table.source, side, name, _columns(data, table), text, values))
    return found


def open_feature_sources(data: config.Data, side: Side) -> list[FeatureSource]:
    """The tables of one side's features; the columns that are read are found to be there.

    Owners go by their name in the interactions where there is a column of that name.

    Raises
    ------
    InputError
        If a file or a column is missing, or columns of two tables are called by the same position
        and nothing else.
    """
    opened, unnamed = [], []
    for each in feature_sources(data, side):
        columns = each.columns
        with _settings_of(each):
            table = open_table(each.source, each.text, columns.given())
            if columns.owner is None:
                owner = {"item": data.item_column, "user": data.user_column}[side]
                if owner is not None and (
                    owner in table.names or not find_known(table.names, side)
                ):
                    columns = replace(columns, owner=owner)
            _, wide = find_feature_columns(table, columns, side)
        opened.append(replace(each, columns=columns))
        unnamed.append(unnamed_types(table, columns, wide))
    labels = [redacted(each.source) for each in opened]
    remedy = f"say it in [[data.{ROLES[side]}]], as in columns = {{{{ {{place}} = 'genre' }}}}"
    refuse_one_place(list(zip(labels, unnamed, strict=True)), remedy)
    return opened


def _columns(data: config.Data, table: ItemTable | UserTable) -> FeatureColumns:
    """Which columns of a table are read."""
    if isinstance(table, ItemTable):
        owner, name = table.item_column or data.feature_item_column, table.name_column
        wide = table.columns or data.feature_columns
        texts = table.text_columns or data.text_columns
    else:
        owner, name = table.user_column or data.feature_user_column, None
        wide, texts = table.columns or data.user_feature_columns, []
    separator = data.feature_separator if table.separator is None else table.separator
    return FeatureColumns(
        owner,
        table.type_column or data.feature_type_column,
        table.value_column or data.feature_value_column,
        table.weight_column or data.feature_weight_column,
        tuple(wide),
        data.feature_name_column if name is None else name,
        separator,
        tuple(texts),
        data.term_min_items,
        data.term_max_share,
        types=wide if isinstance(wide, dict) else {},
        repeats=data.feature_repeats,
    )


def _names(sources: Sequence[str]) -> list[str]:
    """What tables are told apart by: the names of their files, or else all of their addresses."""
    if len(sources) < 2:
        return [""] * len(sources)
    addresses = [redacted(source) for source in sources]
    short = [Path(address).name for address in addresses]
    return short if len(set(short)) == len(short) else addresses


# As in data.feature_item_column, which is item_column in a table of its own.
_SETTING = re.compile(
    r"\bdata\.(?:user_)?(?:feature_)?"
    r"((?:item|user|type|value|weight|name|text)_columns?|columns|separator|decimal|"
    r"timestamp_format)\b"
)


@contextmanager
def _settings_of(each: FeatureSource) -> Iterator[None]:
    """Errors name the settings of a table in the place of those of all tables, if it has such."""
    section = f"data.{ROLES[each.side]}"
    if each.text.setting != section:
        yield
        return
    try:
        yield
    except InputError as fault:
        found, expected, action = (
            _SETTING.sub(rf"{section}.\1", part or "") for part in fault.args
        )
        if section in action:
            action += f", in the table with source = {redacted(each.source)!r}"
        raise InputError(found, expected, action) from fault
