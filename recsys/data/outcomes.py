"""What the stages that prepare data found out, one frozen dataclass a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from recsys.data.likes_log import LogPosition
from recsys.store.stages import Outcome


@dataclass(frozen=True)
class Size:
    """How large interactions are; `density` is the percentage of the matrix that is filled."""

    users: int
    items: int
    interactions: int
    density: float


@dataclass(frozen=True)
class Ingested(Outcome):
    """What `ingest` read.

    Parameters
    ----------
    interactions, users, items : int
    rejected : mapping of str to mapping of str to int
        Rows left out: by file, by reason.
    sources : mapping of str to str
        Fingerprints of what was read, by role.
    rows : mapping of str to int
        Rows of each file: what came of them, and those left out.
    notes : tuple of str
        What a person should know of the data.
    read_as : tuple of str
        What was found of how the files are written.
    earlier, disliked : int or None
        Pairs liked before the window only, and pairs that are never to be recommended.
    log : LogPosition or None
        How far a likes log was read; None without.
    users_that_differ_in_case_or_space, items_that_differ_in_case_or_space : int or None
        Ids that are another one but for that.
    items_with_features, item_features, item_feature_pairs : int or None
        Items of the interactions that have features, distinct features, rows; None without any.
    users_with_features, user_features, user_feature_pairs : int or None
    """

    interactions: int
    users: int
    items: int
    rejected: Mapping[str, Mapping[str, int]]
    sources: Mapping[str, str]
    rows: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()
    earlier: int | None = None
    disliked: int | None = None
    log: LogPosition | None = None
    users_that_differ_in_case_or_space: int | None = None
    items_that_differ_in_case_or_space: int | None = None
    items_with_features: int | None = None
    item_features: int | None = None
    item_feature_pairs: int | None = None
    users_with_features: int | None = None
    user_features: int | None = None
    user_feature_pairs: int | None = None

    def told(self) -> tuple[str, ...]:
        """What a person should know of the data."""
        return self.notes


@dataclass(frozen=True)
class Thresholded(Outcome):
    """What `threshold` kept.

    Parameters
    ----------
    interactions, users, items : int
        Of the core.
    catalogue : int
        Items of the core, items cut, and items known by their features alone.
    passes : int
    start, end : Size
    log : LogPosition or None
        How far a likes log was read, see `Ingested`.
    """

    interactions: int
    users: int
    items: int
    catalogue: int
    passes: int
    start: Size
    end: Size
    log: LogPosition | None = None


@dataclass(frozen=True)
class HeldOut(Outcome):
    """What `split` held out: interactions of each part, users in the holdouts, cold items.

    `tied` is the number of users of whose last interactions chance decided, as several have one
    time; None where none is held out by time.
    """

    train: int
    validation: int
    validation_users: int
    test: int
    test_users: int
    cold_items: int
    tied: int | None = None

    def told(self) -> tuple[str, ...]:
        """That chance decided which interactions are the last, if it did."""
        if not self.tied:
            return ()
        return (
            f"of {self.tied:,} of the {self.validation_users + self.test_users:,} held-out users, "
            "chance decided which interactions are the last, as several have the same time",
        )


@dataclass(frozen=True, kw_only=True)
class HeldOutByTime(HeldOut):
    """What a split by time held out, where it was cut, and whom the cut leaves out.

    Parameters
    ----------
    refit : int
        Interactions of the core of all that is before the test.
    validation_from, test_from, test_until : str or None
        The first moments of the holdouts, and the first one after them if that is not the end.
    newcomer_users, newcomer_users_left_out, newcomer_items, newcomer_item_likes : int
        See `recsys.data.time_split.Newcomers`.
    """

    refit: int
    validation_from: str
    test_from: str | None
    test_until: str | None = None
    newcomer_users: int
    newcomer_users_left_out: int
    newcomer_items: int
    newcomer_item_likes: int

    def told(self) -> tuple[str, ...]:
        """Where it was cut, and what the figures of trained users leave out."""
        held = "validation" if self.test_from is None else "test"
        begins = f"validation from {self.validation_from}"
        begins += "" if self.test_from is None else f", test from {self.test_from}"
        begins += "" if self.test_until is None else f" until {self.test_until}"
        said = [f"split by time: {begins}"]
        if self.newcomer_users or self.newcomer_users_left_out:
            said.append(
                f"in the {held}, {self.newcomer_users:,} users not trained before are measured "
                f"apart, and {self.newcomer_users_left_out:,} have too few interactions"
            )
        if self.newcomer_items:
            said.append(
                f"{self.newcomer_items:,} items are new, to which {self.newcomer_item_likes:,} "
                "interactions of trained users go"
            )
        return ("; ".join(said),)


@dataclass(frozen=True, kw_only=True)
class HeldOutByFiles(HeldOut):
    """What files name as held out; of `unknown` pairs, user or item is not in the core."""

    unknown: int

    def told(self) -> tuple[str, ...]:
        """How many of the pairs nobody is asked for."""
        if not self.unknown:
            return ()
        return (
            f"{self.unknown:,} held-out pairs are of users or items that are not in the core, and "
            "left out; lower threshold.user_min or threshold.item_min to keep more",
        )


@dataclass(frozen=True)
class Encoded(Outcome):
    """What `encode` wrote, and how its matrices are to be used.

    Parameters
    ----------
    normalisation : {"none", "l1", "l2"}
    weight : float
        Of the features beside the identity.
    identity : bool
        Whether every item and user has a column of its own beside its features.
    item_features, item_feature_pairs : int or None
        Columns and stored entries; None where items have no features.
    core_item_feature_pairs : int or None
        Entries in the rows of the core's items.
    user_features, user_feature_pairs, core_user_feature_pairs : int or None
    """

    normalisation: Literal["none", "l1", "l2"]
    weight: float
    identity: bool
    item_features: int | None = None
    item_feature_pairs: int | None = None
    core_item_feature_pairs: int | None = None
    user_features: int | None = None
    user_feature_pairs: int | None = None
    core_user_feature_pairs: int | None = None
