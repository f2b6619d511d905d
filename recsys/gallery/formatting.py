"""Showing: names and numbers as a page shows them, whatever is in them."""

from __future__ import annotations

import unicodedata

LONGEST = 160  # letters of a name in a list
_REPLACED = {"Cc", "Cs", "Zl", "Zp"}


def tidy(text: str, most: int = LONGEST) -> str:
    """A name on one line, at most so many letters; control characters become U+FFFD.

    Marks of direction stay: templates isolate every name (`bdi`), so that they end with it.
    Markup is none of our business here: templates escape everything.
    """
    cut = text[: most + 1]
    shown = " ".join(
        "".join("\ufffd" if _unruly(letter) else letter for letter in word) for word in cut.split()
    )
    return shown if len(text) <= most else shown[:most].rstrip() + "…"


def _unruly(letter: str) -> bool:
    return unicodedata.category(letter) in _REPLACED


def count(number: float) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,.0f}"


def counted(number: int, what: str) -> str:
    """`1 like`, `2,000 likes`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def signed(number: float) -> str:
    """With its sign, a true minus (U+2212); zero has none."""
    text = f"{number:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "\u2212")


def plain(number: float, digits: int = 2) -> str:
    return f"{number:.{digits}f}".replace("-", "\u2212")


def feature_parts(name: str, kind: str) -> tuple[str, str]:
    """`tag_anime` as ("tag", "anime")."""
    return (kind, name[len(kind) + 1 :]) if name.startswith(f"{kind}_") else ("", name)
