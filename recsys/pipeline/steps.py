"""Steps: what a run changes in other systems; they have no product, and are never cached."""

from __future__ import annotations

from typing import Any, Protocol


class Step(Protocol):
    """The result of a step, as it is shown to people."""

    @property
    def reused(self) -> bool:
        """Whether nothing had to be changed."""

    def counts(self) -> dict[str, Any]:
        """Plain values, for people and logs."""
