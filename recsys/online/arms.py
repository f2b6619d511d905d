"""Arms: which two versions are compared, how, and which of them a user gets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

Mode = Literal["split", "shadow", "interleave"]
Side = Literal["champion", "challenger"]
SIDES: tuple[Side, Side] = ("champion", "challenger")


@dataclass(frozen=True)
class Comparison:
    """Two versions of a model, and how they are compared; another of these is another comparison.

    Parameters
    ----------
    model : str
    mode : {"split", "shadow", "interleave"}
    champion, challenger : str
        Numbers of the versions.
    share : float
        Share of the users who get the challenger where they are split.
    salt : str
    """

    model: str
    mode: Mode
    champion: str
    challenger: str
    share: float = 0.5
    salt: str = ""

    @property
    def key(self) -> str:
        """What the log calls the comparison; the salt is in it as a hash."""
        salt = hashlib.blake2b(self.salt.encode(), digest_size=4).hexdigest()
        share = f"{self.share:g}/" if self.mode == "split" else ""
        return f"{self.mode}/{self.champion}/{self.challenger}/{share}{salt}"

    def draw(self, *about: str) -> float:
        """A number from 0 to 1 that is always the same for the same texts, uniform among them.

        Comparisons draw independently of each other, so that what a user met in one of them does
        not decide what is met in the next.
        """
        texts = (self.salt, self.model, self.mode, self.champion, self.challenger, *about)
        found = hashlib.blake2b(digest_size=8)
        for text in texts:
            plain = text.encode("utf-8", "surrogatepass")
            found.update(len(plain).to_bytes(8, "big") + plain)
        return int.from_bytes(found.digest(), "big") / 2**64


def gets_challenger(comparison: Comparison, user: str) -> bool:
    """Whether a user is among those who get the challenger: always the same for the same user."""
    return comparison.draw("split", user) < comparison.share
