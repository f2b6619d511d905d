"""A small world whose right answers are known: groups of users who like their group's items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def planted(
    groups: int = 6, users: int = 40, items: int = 15, likes: int = 10, seed: int = 7
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Likes and features: each user likes `likes` of the `items` of one group, and one stray item.

    Returns
    -------
    likes : DataFrame (modelname, mid, uid)
        Item "g2i07" is the seventh of group 2, user "g2u31" belongs to it.
    features : DataFrame (mid, type, value)
        The tag of an item is its group.
    """
    generator = np.random.default_rng(seed)
    names = [[f"g{group}i{item:02d}" for item in range(items)] for group in range(groups)]
    rows: list[tuple[str, str, str]] = []
    for group in range(groups):
        for user in range(users):
            chosen = list(generator.choice(names[group], size=likes, replace=False))
            other = int(generator.integers(groups))
            stray = names[other][int(generator.integers(items))]
            rows += [(f"item {mid}", mid, f"g{group}u{user:02d}") for mid in {*chosen, stray}]
    features = [(mid, "tag", f"group {g}") for g, mids in enumerate(names) for mid in mids]
    return (
        pd.DataFrame(sorted(rows), columns=["modelname", "mid", "uid"]),
        pd.DataFrame(features, columns=["mid", "type", "value"]),
    )


def write_planted(folder: Path, **options: int) -> tuple[Path, Path]:
    """The same as files in the founding schema; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    likes, features = planted(**options)
    paths = folder / "likes.psv", folder / "feats.psv"
    for frame, path in zip((likes, features), paths, strict=True):
        frame.to_csv(path, sep="|", index=False)
    return paths
