"""What `recsys down` does where nothing was started."""

from __future__ import annotations

from pathlib import Path

from flows import local


def test_nothing_is_ended_where_nothing_was_started(tmp_path: Path) -> None:
    said: list[str] = []
    local.down(tmp_path, report=said.append)
    assert said == ["nothing was up"]
    assert list(tmp_path.iterdir()) == []
