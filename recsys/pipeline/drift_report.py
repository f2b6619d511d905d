"""The report's section on drift: each figure beside what it usually is, and sizes over nights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from recsys.pipeline.drifting import NIGHTS, load_found
from recsys.pipeline.outcomes import Drifted
from recsys.pipeline.report import Section, Table
from recsys.store.stages import Stage
from recsys.tuning.figures import as_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drift_section(drifted: Stage[Drifted] | None) -> Section | None:
    """What differs from earlier nights; None where there are none."""
    if drifted is None or not drifted.outcome.nights:
        return None
    found = load_found(drifted)
    nights = drifted.outcome.nights
    against = "the night before"
    if nights > 1:
        against = f"the last {nights:,} nights, of which the median is what is usual"
    text = [
        f"Compared with {against}. PSI is the population stability index of a distribution, of "
        "which the part that differs most is shown; z are standard deviations of a count or share."
    ]
    if nights < _FEW:
        text.append("With so few nights the tests are rough.")
    # Those that drift first, then as they are.
    rows = tuple(
        (
            "DRIFTS" if one.drifts else "",
            one.label,
            one.tonight,
            one.usual,
            f"{one.statistic} {one.score:.2f}",
            f"{one.limit:.2f}",
        )
        for one in sorted(found, key=lambda one: not one.drifts)
    )
    table = Table(("", "what", "tonight", "usually", "statistic", "drifts above"), rows)
    picture = as_svg(draw_sizes(drifted.read_json(NIGHTS)))
    return Section("Drift", tuple(text), (("", table),), picture)


_FEW = 4


def draw_sizes(nights: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw likes, users and items of each night, side by side.

    Parameters
    ----------
    nights : mapping of str to mapping of str to int
        The sizes by version, tonight's under '', last.
    """
    from matplotlib.figure import Figure  # takes long to import

    drawing = Figure(figsize=(7, 2.2), layout="constrained")
    labels = [version or "tonight" for version in nights]
    for axis, name in zip(drawing.subplots(1, 3), ("likes", "users", "items"), strict=True):
        values = [sizes[name] for sizes in nights.values()]
        axis.bar(range(len(values)), values, color=["tab:grey"] * (len(values) - 1) + ["tab:blue"])
        axis.set_title(name, fontsize=10)
        axis.set_xticks(range(len(values)), labels, fontsize=7)
    return drawing
