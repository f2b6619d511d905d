"""Memory: that of the machine, or of a container that may have less."""

from __future__ import annotations

from pathlib import Path

from recsys.base.memory import available


def test_the_limit_of_a_container_counts_where_it_is_lower(tmp_path: Path) -> None:
    machine = available(())
    assert machine > 1 << 28
    limits = {"max": "max\n", "low": "1048576\n", "high": f"{machine + 1}\n"}
    for name, text in limits.items():
        (tmp_path / name).write_text(text)
    paths = {name: str(tmp_path / name) for name in (*limits, "missing")}
    assert available((paths["max"], paths["missing"], paths["high"])) == machine
    assert available((paths["high"], paths["low"])) == 1_048_576
