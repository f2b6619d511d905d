"""Accounts of what was read: rows left out, and notes of what looks wrong with ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.errors import InputError
from recsys.data.columns import reasons
from recsys.data.idmap import IdMap

# Soft hyphen, zero-width characters, marks of direction and of byte order.
_UNSEEN = r"[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{FEFF}]"
NOTEWORTHY = 0.01  # share of the rows left out from which a person is told
# Settings that change whether a row is left out, by the reason.
REMEDIES = {
    "wrong number of fields": "data.delimiter, data.quote and data.escape",
    "no user": "data.user_column and data.missing",
    "no item": "data.item_column and data.missing",
    "no owner": "data.feature_item_column and data.missing",
    "no rating": "data.rating_column and data.decimal",
    "weight not a positive number": "data.weight_column and data.decimal",
    "unreadable timestamp": "data.timestamp_column and data.timestamp_format",
}


def left_out(
    label: str,
    rows: int,
    rejected: Mapping[str, int],
    set_aside: Mapping[str, int],
    largest: float,
) -> list[str]:
    """Notes of rows that were left out, if they are more than 1 %.

    Parameters
    ----------
    label : str
        The table's name in messages.
    rows : int
        Of the table.
    rejected, set_aside : mapping of str to int
        Rows left out because they are unusable, and because settings say so, by reason.
    largest : float
        The share of unusable rows above which nothing should be made of the table.

    Raises
    ------
    InputError
        If more of them are unusable.
    """
    notes = []
    unusable = sum(rejected.values())
    if unusable > NOTEWORTHY * rows:
        found = f"{unusable:,} of the {rows:,} rows of {label} ({unusable / rows:.1%})"
        remedy = remedies(rejected)
        if unusable > largest * rows:
            raise InputError(
                f"{found} cannot be used ({reasons(rejected)})",
                f"at most {largest:.0%}, as data.largest_left_out says",
                remedy or "check the file",
            )
        notes.append(f"{found} were left out ({reasons(rejected)}){'; ' if remedy else ''}{remedy}")
    if sum(set_aside.values()) > NOTEWORTHY * rows:
        notes.append(
            f"{sum(set_aside.values()):,} of the {rows:,} rows of {label} do not count as "
            f"interactions ({reasons(set_aside)})"
        )
    return notes


def remedies(rejected: Mapping[str, int]) -> str:
    """The settings that change whether rows are left out, by the reasons that there are."""
    reasoned = (REMEDIES[reason] for reason, n in rejected.items() if n and reason in REMEDIES)
    return "; ".join(f"see {setting}" for setting in dict.fromkeys(reasoned))


def simplified(ids: pa.Array) -> pa.Array:
    """Ids without what is easily lost or changed: case, blanks around them, Unicode form.

    Characters that are not seen, such as a zero-width space, are taken away as well.
    """
    if not pc.all(pc.string_is_ascii(ids)).as_py():
        ids = pc.replace_substring_regex(ids, _UNSEEN, "")
    return pc.utf8_lower(pc.utf8_trim_whitespace(pc.utf8_normalize(ids, form="NFKC")))


def count_similar_ids(ids: IdMap) -> int:
    """The number of ids that differ from another in case, blanks or Unicode form only."""
    return len(ids) - len(pc.unique(simplified(ids.ids)))


def similar_ids(ids: IdMap) -> tuple[int, list[str]]:
    """`count_similar_ids`, and a note with an example if there are such ids."""
    encoded = simplified(ids.ids).dictionary_encode()
    number = len(ids) - len(encoded.dictionary)
    if not number:
        return 0, _padded(ids)
    codes = encoded.indices.to_numpy()
    twice = np.flatnonzero(np.bincount(codes) > 1)[0]
    one, other = ids.take(np.flatnonzero(codes == twice)[:2])
    return number, [
        f"{number:,} {ids.kind}s differ from another one in case, blanks or Unicode form only, "
        f"such as {one!r} and {other!r}, and stay apart; write them in one way if they are the same"
    ]


def _padded(ids: IdMap) -> list[str]:
    """A note where all ids have blanks around them, as tables have that are aligned for people."""
    trimmed = pc.utf8_trim_whitespace(ids.ids)
    if not len(ids) or pc.any(pc.equal(trimmed, ids.ids)).as_py():
        return []
    return [
        f"all {ids.kind}s begin or end with a blank, such as {ids.id(0)!r}, which is part of them; "
        "write them without, or name the blank in the delimiter, as in data.delimiter = ', '"
    ]


def unmatched(owners: IdMap, known: IdMap, source: str) -> list[str]:
    """A note where ids of features match none of the likes', but would in another form.

    Parameters
    ----------
    owners : IdMap
        Those that have features.
    known : IdMap
        Those of the likes.
    source : str
        The features' file.
    """
    strange = owners.ids.filter(pc.invert(pc.is_in(owners.ids, value_set=known.ids)))
    unliked = known.ids.filter(pc.invert(pc.is_in(known.ids, value_set=owners.ids)))
    notes = []
    for kind, number, mine, theirs in _near_matches(strange, unliked):
        notes.append(
            f"{number:,} of the {len(owners):,} {owners.kind}s of {source} match no "
            f"{owners.kind} of the likes as they are written, but would {kind}: {mine!r} there, "
            f"{theirs!r} in the likes; write ids as text, in one form, in both files"
        )
    matched = len(owners) - len(strange)
    if not notes and matched < 0.5 * min(len(owners), len(known)):
        notes.append(
            f"only {matched:,} of the {len(owners):,} {owners.kind}s of {source} (such as "
            f"{owners.id(0)!r}) are among the {len(known):,} {owners.kind}s of the likes (such as "
            f"{known.id(0)!r}); check that both files use the same ids"
        )
    return notes


def require_known(owners: IdMap, known: IdMap, source: str) -> None:
    """Make sure that some owner of features is among those of the likes.

    Parameters
    ----------
    owners, known : IdMap
        Those that have features, and those of the likes.
    source : str
        The features' file.

    Raises
    ------
    InputError
        If none is.
    """
    if pc.any(pc.is_in(owners.ids, value_set=known.ids)).as_py():
        return
    kind = owners.kind
    raise InputError(
        f"none of the {len(owners):,} {kind}s in {source} (such as {owners.id(0)!r}) is among the "
        f"{len(known):,} {kind}s of the likes (such as {known.id(0)!r})"
        + "".join(f"; {note}" for note in unmatched(owners, known, source)[:1] if "would" in note),
        f"features of known {kind}s",
        "check that both files use the same ids, or leave the features out",
    )


def _near_matches(strange: pa.Array, unliked: pa.Array) -> Iterator[tuple[str, int, str, str]]:
    """In what form ids would match: how to say it, how many, and one of each side."""
    forms = {
        "without zeros in front": lambda ids: pc.utf8_ltrim(ids, characters="0"),
        "without case, blanks and Unicode form": simplified,
    }
    for kind, form in forms.items():
        place = pc.index_in(form(strange), value_set=form(unliked))
        found = np.flatnonzero(np.asarray(pc.is_valid(place)))
        if len(found):
            other = unliked[place[int(found[0])].as_py()].as_py()
            yield kind, len(found), strange[int(found[0])].as_py(), other
