"""Steps: what a run does outside of its own folder, and is never taken from a cache."""

from __future__ import annotations

from typing import Any, Protocol


class Step(Protocol):
    """What came of a step, as it is shown to people."""

    @property
    def reused(self) -> bool:
        """Whether everything was as it should be already."""

    def counts(self) -> dict[str, Any]:
        """Plain values, for people and logs."""
