"""Names and numbers formatted for pages."""

from __future__ import annotations

import unicodedata

LONGEST = 160  # characters of a name in a list
_REPLACED = {"Cc", "Cs", "Zl", "Zp"}


def tidy(text: str, most: int = LONGEST) -> str:
    """Shorten a name to one line of at most `most` characters, control characters replaced.

    Direction marks stay: templates isolate every name (`bdi`), so their effect ends with it. Markup
    is not escaped here; templates do that.
    """
    cut = text[: most + 1]
    shown = " ".join(
        "".join("\ufffd" if _is_control(letter) else letter for letter in word)
        for word in cut.split()
    )
    return shown if len(text) <= most else shown[:most].rstrip() + "…"


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in _REPLACED


def count(number: float) -> str:
    """Format 1234567 as 1,234,567."""
    return f"{number:,.0f}"


def counted(number: int, what: str) -> str:
    """Format a count with its noun: `1 like`, `2,000 likes`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def signed(number: float) -> str:
    """Format a number with its sign, a minus being U+2212; zero has no sign."""
    text = f"{number:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "\u2212")


def plain(number: float, digits: int = 2) -> str:
    """Format a number with a fixed number of digits, a minus being U+2212."""
    return f"{number:.{digits}f}".replace("-", "\u2212")


def feature_parts(name: str, kind: str) -> tuple[str, str]:
    """Split `tag_anime` into ("tag", "anime"); no type if the name does not begin with it."""
    return (kind, name[len(kind) + 1 :]) if name.startswith(f"{kind}_") else ("", name)
