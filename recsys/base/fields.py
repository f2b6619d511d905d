"""Fields: the types that settings share, and what a section of the configuration is."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from recsys.base.durations import seconds_of, share_of
from recsys.base.redaction import redacted

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Samples = Annotated[int, Field(ge=1, le=100_000)]
# A position, counted from 1, is as good as a name where there is no header.
_Named = BeforeValidator(lambda name: str(name) if type(name) is int else name)
Column = Annotated[str, Field(min_length=1), _Named]
PerhapsColumn = Annotated[str, _Named]  # '' says that there is none
Location = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
Margin = Annotated[float, Field(ge=0)]
Delimiter = Annotated[str, Field(min_length=1, max_length=3)]
Quote = Annotated[str, Field(max_length=1)]


def _safe_name(name: str) -> str:
    if not name.strip(" .") or unsafe_characters(name):
        raise ValueError("a name of letters, digits, spaces and _ . + - @, with no path in it")
    return name


# Names become folders, parts of addresses and of MLflow's filter expressions.
Name = Annotated[str, Field(max_length=200), AfterValidator(_safe_name)]
VersionName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
"""A registered version by its number or an alias."""
# A configuration is always written as JSON (MLflow's parameters, Prefect's, files), so secrets are
# removed there. The Python value keeps them, because it has to be used.
Address = Annotated[Location, PlainSerializer(redacted, return_type=str, when_used="json")]


def unsafe_characters(name: str) -> set[str]:
    """The characters of a name that it must not have."""
    return {letter for letter in name if not (letter.isalnum() or letter in " _.+-@")}


def _duration(written: str) -> str:
    if seconds_of(written) is None:
        raise ValueError("a duration such as 90d, 12h, 8w or 1y")
    return written


def _moment(written: str) -> str:
    if seconds_of(written) is None:
        try:
            datetime.fromisoformat(written)
        except ValueError as fault:
            raise ValueError("a date such as 2026-01-31, or a duration such as 365d") from fault
    return written


def _last_part(written: str) -> str:
    if share_of(written) is None:
        try:
            _moment(written)
        except ValueError as fault:
            raise ValueError(
                "a share such as 0.1 or 10%, a duration such as 7d, or a date such as 2026-01-31"
            ) from fault
    return written


def is_last_part(written: str) -> bool:
    """Whether a text is a share, a duration or a date."""
    try:
        _last_part(written)
    except ValueError:
        return False
    return True


# TOML has dates and numbers of its own.
_Written = BeforeValidator(lambda given: given.isoformat() if isinstance(given, date) else given)
_Number = BeforeValidator(lambda given: str(given) if type(given) is float else given)
Duration = Annotated[str, AfterValidator(_duration)]
Moment = Annotated[str, _Written, AfterValidator(_moment)]
LastPart = Annotated[str, _Written, _Number, AfterValidator(_last_part)]
EventMeaning = Annotated[str, Field(pattern="^(dislike|cancels .+)$")]
# What of a night's data is compared with earlier nights: recsys/evaluation/drift.py.
Drift: TypeAlias = Literal[
    "likes", "users", "items", "likes_a_day", "likes_a_night", "new_users", "lost_users",
    "new_items", "lost_items", "likes_a_user", "likes_an_item", "popular_items", "tags",
    "user_features", "rejected_rows", "ages",
]  # fmt: skip


class Section(BaseModel):
    """A frozen part of the configuration; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
