"""Table settings: how a text file is written, and tables of features that have settings of own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from recsys.base.fields import Address, Column, Delimiter, PerhapsColumn, Quote, Section

# A list of columns, or a table of columns and what their features are called.
Columns: TypeAlias = Annotated[
    Annotated[list[Column], Tag("[list]")] | Annotated[dict[Column, Column], Tag("[table]")],
    Discriminator(lambda given: "[table]" if isinstance(given, dict) else "[list]"),
]


class Text(Section):
    """How one text file is written, where it differs from the others."""

    delimiter: Delimiter | None = Field(None, description="What is between fields.")
    quote: Quote | None = Field(None, description="Quote character; '' if there is none.")
    escape: Quote | None = Field(None, description="Escape character; '' if there is none.")
    encoding: str | None = Field(None, description="Encoding.")
    header: bool | None = Field(None, description="Whether the first line names the columns.")
    decimal: Literal[".", ","] | None = Field(None, description="The mark before decimals.")

    @model_validator(mode="after")
    def _tell_apart(self) -> Text:
        differ(self.delimiter, self.quote, self.escape)
        return self


class _FeatureTable(Text):
    """A table of features: what of it differs from what `data` says."""

    source: Address = Field(description="File, folder or URL.")
    type_column: Column | None = Field(
        None, description="Column with a feature's type; default: data.feature_type_column."
    )
    value_column: Column | None = Field(
        None, description="Column with a feature's value; default: data.feature_value_column."
    )
    weight_column: Column | None = Field(
        None, description="Column with a positive weight; default: data.feature_weight_column."
    )
    separator: str | None = Field(
        None,
        description="What is between several values in a cell, '' if there is one in each; "
        "default: data.feature_separator.",
    )
    timestamp_format: str | None = Field(
        None, description="How dates are written; default: data.timestamp_format."
    )


class ItemTable(_FeatureTable):
    """A table of item features, and how it is read where it differs from what `data` says."""

    item_column: Column | None = Field(
        None, description="Column with the item's id; default: data.feature_item_column."
    )
    columns: Columns = Field(
        [],
        description="Columns that are features, as a list, or as a table with what their features "
        "are called, as in { 3 = 'genre' }; default: data.feature_columns.",
    )
    name_column: PerhapsColumn | None = Field(
        None,
        description="Column with the item's name, '' if there is none; default: "
        "data.feature_name_column.",
    )
    text_columns: list[Column] = Field(
        [], description="Columns to be taken by their terms; default: data.text_columns."
    )


class UserTable(_FeatureTable):
    """A table of user features, and how it is read where it differs from what `data` says."""

    user_column: Column | None = Field(
        None, description="Column with the user's id; default: data.feature_user_column."
    )
    columns: Columns = Field(
        [],
        description="Columns that are features, as a list, or as a table with what their features "
        "are called; default: data.user_feature_columns.",
    )


def differ(*marks: str | None) -> None:
    """Refuse one character for two purposes."""
    given = [mark for mark in marks if mark]
    if len(set(given)) < len(given):
        raise ValueError(
            "marks that differ: delimiter, quote, escape (a doubled quote is read too)"
        )
    if any(not mark.isascii() or set(mark) & set("\0\r\n") for mark in given):
        raise ValueError("delimiter, quote and escape of ASCII and no line break")


def _form(given: Any) -> str:
    """Which branch of a union is meant, so that a fault is explained for that one alone.

    The brackets tell names of branches from those of settings.
    """
    return "[list]" if isinstance(given, list | tuple) else _form_of_one(given)


def _form_of_one(given: Any) -> str:
    return "[table]" if isinstance(given, dict | Section) else "[address]"


_ONE, _FORM = Discriminator(_form_of_one), Discriminator(_form)
_Address: TypeAlias = Annotated[Address, Tag("[address]")]
_ItemTable: TypeAlias = Annotated[ItemTable, Tag("[table]")]
_UserTable: TypeAlias = Annotated[UserTable, Tag("[table]")]
_ItemList: TypeAlias = Annotated[list[Annotated[_Address | _ItemTable, _ONE]], Tag("[list]")]
_UserList: TypeAlias = Annotated[list[Annotated[_Address | _UserTable, _ONE]], Tag("[list]")]
# One table by its address, or with settings of its own, or a list of such.
ItemTables: TypeAlias = Annotated[_Address | _ItemTable | _ItemList, _FORM]
UserTables: TypeAlias = Annotated[_Address | _UserTable | _UserList, _FORM]
