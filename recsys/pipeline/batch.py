"""Batches: items for every user and similar items for every item, streamed to Parquet files.

Memory is bounded by the model and one block of lists, however many users there are (see
docs/experiments/batch.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.base.arrays import BoolArray, Int64Array
from recsys.bundle import Bundle, Seen, load_bundle
from recsys.data.answers_log import AnswersLog
from recsys.data.idmap import IdMap
from recsys.data.likes_log import Snapshot
from recsys.evaluation.lists import count_bases, top_lists
from recsys.pipeline.adoption import no_champion
from recsys.pipeline.outcomes import Listed, Source
from recsys.ranking.factors import Factors
from recsys.ranking.topk import TopK, top_k
from recsys.recommend.availability import now, read_availability
from recsys.recommend.house_rules import HouseRules
from recsys.recommend.queries.cold_start import known_users
from recsys.recommend.queries.filters import ANY, Allowed
from recsys.recommend.queries.fresh_users import fresh_users
from recsys.recommend.queries.recommendation import best_items, ruled_lists
from recsys.recommend.queries.ruled import Chosen
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView
from recsys.store.stages import stage
from recsys.tracking.registry import Registry
from recsys.tracking.versions import BUNDLE, CHAMPION

BLOCK = 5_120  # lists ranked, and written as a row group, at once
FILE_ROWS = 1_000_000


@dataclass(frozen=True)
class Lists:
    """The lists of a block: the indices of their owners, and the items on them.

    `placed` is what house rules have to do with the items of each list; empty without rules.
    """

    owners: Int64Array
    top: TopK
    placed: Sequence[Sequence[str]] = ()


@stage(Listed, version=5, unkeyed=("bundle", "workers", "said", "answers"))
def recommend(
    folder: Path,
    source: Source,
    n: int,
    bundle: Path,
    workers: int = 1,
    only: Sequence[str] | None = None,
    fresh: str | None = None,
    said: Snapshot | None = None,
    rules: HouseRules | None = None,
    answers: str | None = None,
    day: int | None = None,
) -> Listed:
    """Write `users/` and `items/`, Parquet files of lists, best first.

    `source` names the model, its version and the digest of its bundle, `bundle` is where it lies.
    Columns of `users`: user, rank (from 1), item, score, without what the user has liked. Of
    `items`: item, rank, similar, score (cosine). Only trained items are on lists; an item without
    a direction has none. Users that were not trained are answered from their likes, their features
    or by popularity; the outcome counts them. `only` names the items that may be on lists. Lists
    follow what users have `said` since the model was trained, whose digest is `fresh`. With house
    `rules`, rows of `users` have `placed`, what the rules have to do with them; those that hide
    what was shown read the file `answers`, and the batch is one of that `day`.
    """
    model = load_bundle(bundle)
    log = None if answers is None else AnswersLog(answers)
    view = BundleView(model, fresh=said, rules=rules, answers=log)
    unknown = [user for user in fresh_users(view) if user not in model.users]
    users = IdMap(pa.concat_arrays([model.users.ids, pa.array(unknown, pa.string())]), "user")
    allowed = None
    if only is not None:
        allowed = np.asarray(pc.is_in(model.items.ids, value_set=pa.array(only, pa.string())))
    sizes: dict[str, int] = {}
    for name, owners, columns, blocks in (
        ("users", users, ("user", "item"), user_lists(model, n, workers, allowed, view)),
        ("items", model.items, ("item", "similar"), item_lists(model, n, workers, allowed)),
    ):
        with_placed = name == "users" and rules is not None
        lists, rows = write_lists(folder / name, blocks, owners, model.items, columns, with_placed)
        sizes |= {name: lists, f"{name}_rows": rows}
    bases = count_bases(model)
    bases["by_likes"] += len(unknown)
    for name, count in count_bases(model, view.forgotten_users()).items():
        bases[name] -= count
    sizes |= {f"users_{name}": count for name, count in bases.items()}
    return Listed(source.model, source.version, source.bundle, n, **sizes)


def champion_source(registry: Registry) -> tuple[Source, Path]:
    """The champion that a batch is made from, and the folder of its bundle.

    Raises
    ------
    NotFoundError
        If there is no champion.
    RegistryError
        If the registry does not answer.
    """
    champion = registry.at(CHAMPION)
    if champion is None:
        raise no_champion(registry)
    source = Source(registry.model, champion.number, champion.tags.get(BUNDLE, ""))
    return source, registry.bundle(champion.number)


def available_ids(file: str | None) -> list[str] | None:
    """The ids that a file allows on lists at the moment, sorted; None without a file.

    Raises
    ------
    InputError, NotFoundError
        If the file cannot be read.
    """
    if file is None:
        return None
    table = read_availability(file)
    found = table.items.filter(pa.array(table.open_at(now())))
    return sorted(set(found.to_pylist()))


def user_lists(
    model: Bundle,
    n: int,
    workers: int = 1,
    allowed: BoolArray | None = None,
    view: BundleView | None = None,
) -> Iterator[Lists]:
    """The n best items of every user, block by block.

    With a view that has fresh likes, lists follow these; users whom only they know come last, and
    those who were forgotten have no list.
    """
    view = BundleView(model) if view is None else view
    fresh = fresh_users(view)
    known = {model.users.index(user): one for user, one in fresh.items() if user in model.users}
    passed = Allowed(allowed)
    gone = view.forgotten_users()
    for start in range(0, len(model.users), BLOCK):
        users = np.arange(start, min(start + BLOCK, len(model.users)))
        users = users[~np.isin(users, gone)]
        if view.rules is not None:
            named = known_users(BundleView(model), model.users.take(users))
            asked = [
                known.get(index, one) for index, one in zip(users.tolist(), named, strict=True)
            ]
            yield _as_asked(view, users, asked, n, passed, workers)
            continue
        top = top_lists(model, users, n, threads=workers, allowed=allowed)
        for place in np.flatnonzero(np.isin(users, list(known))).tolist():
            _place(top, place, best_items(view, known[users[place]], n, ANY, passed))
        yield Lists(users, top)
    others = [one for user, one in fresh.items() if user not in model.users]
    for start in range(0, len(others), BLOCK):
        block = others[start : start + BLOCK]
        owners = len(model.users) + start + np.arange(len(block))
        yield _as_asked(view, owners, block, n, passed, workers)


def _as_asked(
    view: BundleView,
    owners: Int64Array,
    users: Sequence[QueryUser],
    n: int,
    allowed: Allowed,
    workers: int,
) -> Lists:
    """Lists of users as queries find them."""
    shape = len(users), n
    top = TopK(np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32))
    if view.rules is None:
        chosen = [best_items(view, one, n, ANY, allowed) for one in users]
    else:
        chosen = ruled_lists(view, users, n, ANY, allowed, workers)
    for place, one in enumerate(chosen):
        _place(top, place, one)
    return Lists(owners, top, [one.placed for one in chosen])


def _place(top: TopK, place: int, chosen: Chosen) -> None:
    """Put a list into its place."""
    count = len(chosen.items)
    top.items[place], top.scores[place] = -1, -np.inf
    top.items[place, :count], top.scores[place, :count] = chosen.items, chosen.scores


def item_lists(
    model: Bundle, n: int, workers: int = 1, allowed: BoolArray | None = None
) -> Iterator[Lists]:
    """The n trained items nearest to every item by cosine, block by block."""
    vectors = model.factors.item_factors
    lengths = np.linalg.norm(vectors, axis=1)
    directions = np.divide(vectors, np.where(lengths > 0, lengths, 1)[:, None], dtype=np.float32)
    n_items, trained = len(vectors), model.trained
    scorer = Factors(
        directions,
        directions[:trained],
        np.zeros(n_items, np.float32),
        np.zeros(trained, np.float32),
    )
    # An item itself is left out of its list.
    itself = Seen(np.minimum(np.arange(n_items + 1), trained), np.arange(trained, dtype=np.int32))
    candidates = None if allowed is None else np.flatnonzero(allowed[:trained])
    asked = np.flatnonzero(lengths > 0)
    for start in range(0, len(asked), BLOCK):
        items = asked[start : start + BLOCK]
        yield Lists(
            items,
            top_k(scorer, items, n, known=itself, candidates=candidates, threads=workers),
        )


def write_lists(
    folder: Path,
    blocks: Iterator[Lists],
    owners: IdMap,
    items: IdMap,
    columns: tuple[str, str],
    with_placed: bool = False,
) -> tuple[int, int]:
    """Write blocks as they come, a row group each, into files that are full one after the other.

    Parameters
    ----------
    folder : Path
        Made here.
    blocks : iterator of Lists
    owners, items : IdMap
        Of the lists, and of what is on them.
    columns : (str, str)
        What the two are called.
    with_placed : bool
        Whether there is a column `placed`.

    Returns
    -------
    lists, rows : int
    """
    owner, item = columns
    text = pa.string()
    schema = pa.schema([(owner, text), ("rank", pa.int32()), (item, text), ("score", pa.float32())])
    if with_placed:
        schema = schema.append(pa.field("placed", text))
    folder.mkdir()
    file = _Files(folder, schema)
    lists = 0
    try:
        for block in blocks:
            lists += len(block.owners)
            file.write(_table(block, owners, items, schema))
    finally:
        file.close()
    return lists, file.rows


def _table(block: Lists, owners: IdMap, items: IdMap, schema: pa.Schema) -> pa.Table:
    found = block.top.items >= 0
    rows, ranks = np.nonzero(found)
    parts = [
        owners.ids.take(pa.array(block.owners[rows])),
        pa.array((ranks + 1).astype(np.int32)),
        items.ids.take(pa.array(block.top.items[found])),
        pa.array(block.top.scores[found]),
    ]
    if "placed" in schema.names:
        parts.append(pa.array([text for one in block.placed for text in one], pa.string()))
    return pa.table(dict(zip(schema.names, parts, strict=True)), schema=schema)


class _Files:
    """Numbered Parquet files of a folder, the next one begun when one is full."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._writer = self._open(0)
        self._number = self._in_file = self.rows = 0

    def write(self, table: pa.Table) -> None:
        if self._in_file >= FILE_ROWS:
            self.close()
            self._number, self._in_file = self._number + 1, 0
            self._writer = self._open(self._number)
        self._writer.write_table(table, row_group_size=max(1, len(table)))
        self._in_file += len(table)
        self.rows += len(table)

    def close(self) -> None:
        self._writer.close()

    def _open(self, number: int) -> pq.ParquetWriter:
        path = self._folder / f"part-{number:05d}.parquet"
        return pq.ParquetWriter(path, self._schema, compression="zstd")


def point(link: Path, folder: Path) -> None:
    """Make `link` lead to the folder, in one step: a reader finds the old batch or the new one."""
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}-{folder.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.resolve().relative_to(link.parent.resolve()))
    fresh.replace(link)
