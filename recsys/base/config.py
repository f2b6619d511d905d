"""Configuration: what may be set, section by section, and its defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    AliasChoices,
    Field,
    field_validator,
    model_validator,
)

from recsys.base.dimensions import (
    ARTICLE_FEATURE_SPACE,
    ARTICLE_SPACE,
    DEFAULT_SPACE,
    JOINT_SPACE,
    Space,
    as_written,
    check_durations,
)
from recsys.base.durations import AGING
from recsys.base.environment import tracking_uri
from recsys.base.fields import (
    Address,
    Column,
    Delimiter,
    Drift,
    Duration,
    EventMeaning,
    LastPart,
    Location,
    Margin,
    Moment,
    Name,
    PerhapsColumn,
    Positive,
    Quote,
    Samples,
    Section,
    Share,
    VersionName,
    unsafe_characters,
)
from recsys.base.missing_words import MISSING_WORDS
from recsys.base.redaction import redacted
from recsys.base.table_settings import (
    Columns,
    ItemTable,
    ItemTables,
    UserTable,
    UserTables,
    differ,
)
from recsys.base.table_settings import Text as Text

LOCAL_UI = "http://127.0.0.1:5000"
DEFAULT_HALF_WIDTH = 0.03
"""Of `evaluate.half_width`; where holdouts cannot be repeated, it is off without a word."""


Side: TypeAlias = Literal["item", "user"]


class Data(Section):
    """Files of interactions and features, and the names of their columns."""

    likes: Address = Field(description="File, folder or URL of the interactions.")
    features: ItemTables | None = Field(
        None,
        description="File, folder or URL of the item features, or a list of several; a table that "
        "is read in another way is [[data.features]] with source and settings of its own.",
    )
    user_features: UserTables | None = Field(
        None, description="The same of the user features; [[data.user_features]]."
    )
    delimiter: Delimiter | None = Field(
        None, description="What is between the fields of text files; default: found in each."
    )
    quote: Quote | None = Field(
        None, description="Quote character of text files; '' if they have none; default: found."
    )
    escape: Quote | None = Field(
        None, description="Escape character of text files; '' if they have none; default: found."
    )
    encoding: str | None = Field(None, description="Encoding of text files; default: found.")
    header: bool | None = Field(
        None,
        description="Whether the first line of text files names the columns; default: found. "
        "Without, columns are named by their position, from 1.",
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="The mark before decimals in text; default: found in each column."
    )
    features_text: Text | None = Field(
        None, description="How the file of item features is written, where it differs."
    )
    user_features_text: Text | None = Field(
        None, description="How the file of user features is written, where it differs."
    )
    user_column: Column | None = Field(
        None,
        description="Column of the interactions with the user's id; default: found by its name.",
    )
    item_column: Column | None = Field(
        None,
        description="Column of the interactions with the item's id; default: found by its name.",
    )
    item_separator: str | None = Field(
        None,
        description="What is between several items in a cell of the interactions, as in 'a|b|c'; "
        "'' if a cell is one item; default: a stop where cells look like several.",
    )
    name_column: PerhapsColumn | None = Field(
        None,
        description="Column of the interactions with the item's name; default: found by its name; "
        "'' if there is none.",
    )
    weight_column: Column | None = Field(
        None, description="Column of the interactions with a positive weight."
    )
    timestamp_column: Column | None = Field(
        None, description="Column of the interactions with their time."
    )
    timestamp_format: str | None = Field(
        None,
        description="How dates are written: dmy, mdy, ymd or a format of strptime; spreadsheet for "
        "numbers that are days since 1899-12-30; default: found by all dates.",
    )
    timezone: str = Field("UTC", description="Time zone of dates that do not name one.")
    rating_column: PerhapsColumn | None = Field(
        None,
        description="Column of the interactions with a rating; default: found by its name; "
        "'' if every row is a like.",
    )
    liked_from: float | None = Field(None, description="Lowest rating that is a like.")
    unrated: float | None = Field(
        None,
        description="Value of the rating column that stands for no rating; such rows are likes.",
    )
    event_column: PerhapsColumn | None = Field(
        None,
        description="Column of the interactions with the kind of event; default: found by name.",
    )
    disliked_to: float | None = Field(
        None,
        description="Highest rating that is a dislike: the item is never recommended to that user.",
    )
    event_weights: dict[str, Annotated[float, Field(ge=0)] | EventMeaning] | None = Field(
        None,
        description="What an event of each kind weighs, as in { view = 1, purchase = 10 }; 0: "
        "nothing; 'dislike': never recommended to that user; 'cancels purchase': takes back the "
        "latest purchase.",
    )
    negative_weights: Literal["leave_out", "refund", "dislike"] = Field(
        "leave_out",
        description="What a negative weight says: nothing; refund: so much of what was bought "
        "before was given back; dislike: never recommended to that user.",
    )
    since: Moment | None = Field(
        None,
        description="Interactions before it are not trained: a date, or as 365d before the latest "
        "one (h, d, w, y).",
    )
    until: Moment | None = Field(
        None,
        description="Interactions from it on are left out: a date, or 7d before the latest.",
    )
    half_life: Duration | None = Field(
        None, description="Time in which the weight of an interaction is halved, as 90d."
    )
    repeats: Literal["sum", "last", "max", "count"] = Field(
        "sum",
        description="Weight of a pair of user and item that occurs several times; its time is the "
        "latest.",
    )
    weights: Literal["auto", "as_given", "log1p", "none"] = Field(
        "auto",
        description="What becomes of weights: damped by their logarithm (log1p), as_given, none; "
        "auto damps those that span more than a factor of 100.",
    )
    missing: list[str] = Field(
        list(MISSING_WORDS), description="Words that stand for a missing id or value."
    )
    largest_left_out: Annotated[float, Field(ge=0, le=1)] = Field(
        0.2, description="Share of the rows of a file that may be unusable; a run stops above it."
    )
    feature_item_column: Column | None = Field(
        None,
        description="Column of the item features with the item's id; default: item_column, or "
        "found by its name.",
    )
    feature_user_column: Column | None = Field(
        None,
        description="Column of the user features with the user's id; default: user_column, or "
        "found by its name.",
    )
    feature_type_column: Column | None = Field(
        None,
        description="Column of the features with their type, such as tag or category; default: "
        "found by its name.",
    )
    feature_value_column: Column | None = Field(
        None,
        description="Column of the features with their value, such as anime; default: found by its "
        "name.",
    )
    feature_weight_column: Column | None = Field(
        None, description="Column of the features with a positive weight."
    )
    feature_columns: Columns = Field(
        [],
        description="Columns of a table with one row for each item that are features, as a list, "
        "or as a table with what their features are called, as in { 3 = 'genre' }; default: all "
        "that describe items.",
    )
    user_feature_columns: Columns = Field(
        [], description="The same of a table with one row for each user."
    )
    feature_name_column: PerhapsColumn | None = Field(
        None,
        description="Column of such an item table with the item's name; default: found by its "
        "name; '' if there is none.",
    )
    text_columns: list[Column] = Field(
        [],
        description="Columns of such tables with text to be taken by its terms, such as title; "
        "long texts are found.",
    )
    term_min_items: Positive = Field(
        5, description="Fewest items that a term of a text must be on to be a feature."
    )
    term_max_share: Share = Field(
        0.3, description="Largest share of the items with a text that a term may be on."
    )
    ids: Literal["text", "one_type"] = Field(
        "text",
        description="Ids that are numbers in some files of a folder and text in others are read as "
        "'text', and it is said; 'one_type' refuses such a folder.",
    )
    feature_repeats: Literal["max", "sum"] = Field(
        "max",
        description="What a feature weighs that an item (or user) has several times, in one table "
        "or in several: the largest of its weights, so 1 where there are none, or their sum, so "
        "how often it is there.",
    )
    feature_separator: str | None = Field(
        None,
        description="What is between several feature values in a cell; '' if there is one in each; "
        "default: found in such tables.",
    )

    def feature_tables(self, side: Side) -> list[ItemTable | UserTable]:
        """The tables of the features of items or users, each as a section; none without any."""
        given = self.features if side == "item" else self.user_features
        own = ItemTable if side == "item" else UserTable
        listed = given if isinstance(given, list) else [given] if given else []
        return [own(source=one) if isinstance(one, str) else one for one in listed]

    @model_validator(mode="after")
    def _tell_apart(self) -> Data:
        differ(self.delimiter, self.quote, self.escape)
        if self.user_column is not None and self.user_column == self.item_column:
            raise ValueError(f"two columns, not {self.user_column!r} for users and items")
        return self

    @model_validator(mode="after")
    def _tables(self) -> Data:
        """Refuse what cannot be meant where features are in tables with settings of their own."""
        shared = ("type", "value", "weight", "name")
        sides: tuple[tuple[str, Side, list[str]], ...] = (
            ("features", "item", [*self.feature_columns, *self.text_columns]),
            ("user_features", "user", [*self.user_feature_columns]),
        )
        for role, owner, own in sides:
            given = getattr(self, role)
            if given is None or isinstance(given, str):
                continue
            if getattr(self, f"{role}_text") is not None:
                raise ValueError(f"in each table what data.{role}_text says, {_own_table(role)}")
            tables = self.feature_tables(owner)
            twice = next((one for n, one in enumerate(tables) if one in tables[:n]), None)
            if twice is not None:
                named = redacted(twice.source)
                raise ValueError(f"each table of data.{role} once, not {named!r} twice")
            columns = [getattr(self, f"feature_{part}_column") for part in (owner, *shared)]
            places = [name for name in (*columns, *own) if name and name.isdigit()]
            if len(tables) > 1 and places:
                raise ValueError(
                    f"the position {places[0]} of a column in the table that it is of, "
                    + _own_table(role)
                )
        return self

    @model_validator(mode="after")
    def _negative(self) -> Data:
        bound = self.disliked_to
        if bound is not None and (self.liked_from is None or bound >= self.liked_from):
            raise ValueError("a data.liked_from above data.disliked_to")
        weights = self.event_weights or {}
        for meaning in weights.values():
            if isinstance(meaning, str) and meaning.startswith("cancels "):
                purchase = weights.get(meaning.removeprefix("cancels "))
                if not isinstance(purchase, float) or not purchase:
                    raise ValueError(f"the weight of the kind of event that {meaning!r} names")
        return self

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError) as fault:
            raise ValueError("a time zone such as 'Europe/Berlin' or 'UTC'") from fault
        return name


def _own_table(role: str) -> str:
    return f"as in [[data.{role}]] with source = 'file.csv' and header = false"


class Threshold(Section):
    """The k-core: users and items with fewer interactions are left out, until none has fewer."""

    user_min: Positive = Field(5, description="Fewest interactions of a user.")
    item_min: Positive = Field(5, description="Fewest interactions of an item.")


class Split(Section):
    """Which interactions are held out of training."""

    # They name the product of the methods that read them, and of no other.
    unkeyed: ClassVar[frozenset[str]] = frozenset(
        {"validation", "test", "fewest", "validation_file", "test_file"}
    )

    method: Literal["random", "last", "time", "files"] = Field(
        "random",
        description="Which interactions are held out: n of a user at random, the last n of a user, "
        "all from a point in time on, or those in files.",
    )
    holdouts: Literal["validation and test", "one"] = Field(
        "validation and test",
        description="'one' searches and tests on the same holdout, as the article does.",
    )
    n: Positive = Field(5, description="Interactions held out of each chosen user.")
    share: Share = Field(0.2, description="Share of all users in each holdout.")
    cold_share: Share = Field(
        0.1, description="Share of the items with features that are measured as cold items."
    )
    validation: LastPart = Field(
        "10%",
        description="With method 'time', the last part of what is before the test: a share of all "
        "interactions, a duration such as '7d', or the date it begins at.",
    )
    test: LastPart = Field(
        "10%", description="With method 'time', the last part of all interactions, likewise."
    )
    fewest: Positive = Field(
        1, description="With method 'time', fewest held-out interactions of a user who is measured."
    )
    validation_file: Address | None = Field(
        None,
        description="With method 'files', the file of the validation interactions, read as "
        "data.likes is; default: n of a share of the users, drawn from the others.",
    )
    test_file: Address | None = Field(
        None, description="With method 'files', the file of the test interactions."
    )

    @model_validator(mode="after")
    def _files_named(self) -> Split:
        if self.method == "files" and self.test_file is None:
            raise ValueError("test_file, which the method 'files' needs")
        return self


class Encode(Section):
    """How features are encoded as a matrix."""

    min_support: Positive = Field(1, description="Fewest items that a feature must be on.")
    normalisation: Literal["none", "l1", "l2"] = Field(
        "l2", description="Norm to which the features of an item are scaled."
    )
    weight: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Factor on the features, relative to the identity column."
    )
    identity: bool = Field(True, description="Whether every item and user has a column of its own.")


class Search(Section):
    """The hyper-parameter search."""

    # Where trials are trained changes no result.
    unkeyed: ClassVar[frozenset[str]] = frozenset(
        {"workers", "runner", "cluster", "exchange", "checkpoint_bytes"}
    )

    trials: Samples = Field(
        30,
        description="Largest number of configurations of LightFM. Item-to-item models are tried "
        "before, and the best trial with its features and blended after them.",
    )
    seconds: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Seconds of wall time after which no new trial starts."
    )
    max_epochs: Positive = Field(260, description="Largest number of epochs of a trial.")
    batch: Positive = Field(
        4, description="Trials in progress at once; a study's results depend on it."
    )
    workers: Positive = Field(
        2, description="Number of workers; each trains one trial on one core."
    )
    runner: Literal["threads", "processes", "dask", "ray"] = Field(
        "threads", description="What runs the workers."
    )
    cluster: Address | None = Field(
        None, description="Address of a Dask or Ray cluster; default: one started for the run."
    )
    exchange: Address | None = Field(
        None, description="Folder or URL that all workers reach; default: storage.interim."
    )
    checkpoint_bytes: Annotated[int, Field(ge=0)] = Field(
        2_000_000_000,
        description="Memory for the models of paused trials on threads; others go to files.",
    )
    item_to_item_trials: Annotated[int, Field(ge=0)] = Field(
        10,
        description="Trials of each item-to-item model before LightFM's; 0: no such models, "
        "and no blend.",
    )
    item_to_item_bytes: Annotated[int, Field(ge=1)] = Field(
        128_000_000,
        description="Bytes that the weights of an item-to-item model may take in the bundle; fewer "
        "are kept where that costs no precision.",
    )
    folds: Positive = Field(
        4,
        description="Holdouts that the best trials are compared on where the validation holdout "
        "leaves an interval of more than 3 % to either side, that one among them: others hold out "
        "other likes of the same users. 1: no others. Only with split.method 'random'.",
    )
    contenders: Annotated[int, Field(ge=2)] = Field(
        5, description="Trials of each model that are compared so, at most."
    )
    space: Space = Field(
        default_factory=lambda: dict(DEFAULT_SPACE),
        description="Dimensions searched; names left out keep their default.",
    )
    trainer: Literal["recsys", "lightfm"] = Field(
        "recsys",
        description="What trains LightFM's models: the training kernel, or LightFM itself, which "
        "learns the same and takes several times longer.",
    )
    blocks: Annotated[int, Field(ge=1, le=256)] = Field(
        16,
        description="Groups of users, and of items, into which the training kernel cuts each "
        "epoch; as many threads at most can train one model. Models depend on it, and not on the "
        "threads. 1: epochs are not cut, as LightFM's are. Where features of items are trained "
        "jointly, more than one means that items are trained in four groups, one after the other, "
        "several times as fast as otherwise.",
    )
    joint_trials: Annotated[int, Field(ge=0)] = Field(
        0, description="Further trials with features trained jointly."
    )
    joint_space: Space = Field(
        default_factory=lambda: dict(JOINT_SPACE),
        description="Dimensions searched in addition by the joint trials.",
    )

    @field_validator("space", "joint_space", mode="before")
    @classmethod
    def _as_written(cls, space: Any) -> Any:
        return as_written(space)

    @field_validator("space")
    @classmethod
    def _completed(cls, space: Space) -> Space:
        """Fill in the default dimensions, but for those that others replace."""
        replaced = {"alpha": {"user_alpha", "item_alpha"}, "user_alpha_scale": {"user_alpha"}}
        check_durations(space)
        gone = set().union(*(names for name, names in replaced.items() if name in space))
        return {n: d for n, d in DEFAULT_SPACE.items() if n not in gone} | space

    @model_validator(mode="after")
    def _reachable(self) -> Search:
        if self.cluster is not None and self.runner not in ("dask", "ray"):
            raise ValueError(f"cluster is for the runners dask and ray, not {self.runner}")
        return self

    @field_validator("joint_space")
    @classmethod
    def _joint_completed(cls, space: Space) -> Space:
        return JOINT_SPACE | check_durations(space)


class Article(Section):
    """The founding article's searches, for `protocol = "article"`."""

    calls: Samples = Field(250, description="Trials without features.")
    feature_calls: Annotated[int, Field(ge=0)] = Field(
        50, description="Trials with features, the first at the best point of those without."
    )
    space: Space = Field(
        default_factory=lambda: dict(ARTICLE_SPACE),
        description="Dimensions of the trials without features.",
    )
    feature_space: Space = Field(
        default_factory=lambda: dict(ARTICLE_FEATURE_SPACE),
        description="Dimensions of the trials with features.",
    )
    max_epochs: Positive = Field(260, description="Largest number of epochs of a trial.")

    @field_validator("space", "feature_space", mode="before")
    @classmethod
    def _as_written(cls, space: Any) -> Any:
        return as_written(space)

    @field_validator("space", "feature_space")
    @classmethod
    def _of_durations(cls, space: Space) -> Space:
        return check_durations(space)


class Evaluate(Section):
    """What is measured on the test holdout."""

    # They change nothing of what is measured on the test holdout itself.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"half_width", "rounds", "most_folds"})

    ks: list[Positive] = Field([5, 10, 20], description="Lengths of the lists that are measured.")
    bootstrap_samples: Samples = Field(1000, description="Bootstrap samples of an interval.")
    baseline_trials: Annotated[int, Field(ge=0)] = Field(
        16,
        # Its name in earlier releases is read as well.
        validation_alias=AliasChoices("baseline_trials", "als_trials"),
        description="Trials of each baseline that is tuned, ALS and BPR; 0 leaves them out.",
    )
    withheld: bool = Field(
        True, description="Whether cold items and new users are measured, which takes one more fit."
    )
    half_width: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        DEFAULT_HALF_WIDTH,
        description="Half-width of the 95 % interval, as a share of precision_at_5: where that of "
        "the test holdout is wider, further users are tested, in splits by user; 0: none are.",
    )
    rounds: Positive = Field(
        1,
        description="How often each user is tested for evaluate.half_width, at most, each time "
        "without other likes.",
    )
    most_folds: Positive = Field(
        20, description="Fits for evaluate.half_width, at most; the test holdout is the first."
    )


class Backtest(Section):
    """`recsys backtest`: the pipeline's choice replayed at successive points in time."""

    folds: Positive = Field(6, description="How many folds; the last one ends with the last like.")
    every: Duration = Field(
        "7d",
        description="How long a fold's test and validation are; the next fold is as much later.",
    )
    search: Literal["once", "each"] = Field(
        "once",
        description="Whether the first fold's choice is fitted in all, or each fold searches.",
    )
    baseline_trials: Annotated[int, Field(ge=0)] = Field(
        0, description="Trials of ALS and BPR in each fold; 0 leaves them out."
    )
    folder: Location = Field("data/output/backtest", description="Folder of report and figures.")


class Fit(Section):
    """The final fit on all interactions."""

    # The training kernel learns the same on any number of threads and machines.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"threads", "cluster", "exchange"})

    threads: Positive | None = Field(
        None,
        description="Threads of the final fit, up to search.blocks; default: all free cores. "
        "LightFM (search.trainer) takes one by default; with more it is not reproducible.",
    )
    cluster: Address | None = Field(
        None,
        description="Address of a Dask or Ray cluster (tcp://… or ray://…) that the final fit, and "
        "those of evaluation and gate, are spread over, in search.blocks parts; default: they are "
        "trained on this machine.",
    )
    exchange: Address | None = Field(
        None,
        description="Folder or URL that all workers of fit.cluster reach; default: "
        "storage.interim.",
    )


class Guard(Section):
    """A guard rail: how much of the champion's figure a challenger may lose."""

    metric: Annotated[
        str,
        Field(
            pattern=r"^(auc|(precision|recall|ndcg|map|hit_rate|coverage|gini|"
            r"popularity_percentile)_at_[1-9][0-9]*)$"
        ),
    ] = Field(description="A metric of the test holdout, such as ndcg_at_10.")
    segment: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="A segment of the report, or 'users with FEATURE', 'items with FEATURE'; "
        "default: everybody.",
    )
    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.02, description="Share of the champion's figure that must not be lost."
    )

    @property
    def of_catalogue(self) -> bool:
        """Whether it is a metric of all lists together, with no figure for each user."""
        return self.metric.startswith(("coverage", "gini", "popularity_percentile"))

    @property
    def label(self) -> str:
        """What a person reads."""
        return self.metric if self.segment is None else f"{self.metric} of {self.segment}"

    @model_validator(mode="after")
    def _measured(self) -> Guard:
        if self.segment is None:
            return self
        if self.of_catalogue:
            raise ValueError(f"no segment with {self.metric}, which is of all lists together")
        if self.metric == "auc" and self.segment.startswith("items"):
            raise ValueError("no auc on a segment of items, of which users have few")
        return self


class Gate(Section):
    """Conditions that a challenger must meet to become champion."""

    # Asked of real users after a version is judged, so the verdict does not depend on it.
    unkeyed: ClassVar[frozenset[str]] = frozenset({"online"})

    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="Confidence of the lower end of an interval, one-sided."
    )
    popularity_margin: Margin = Field(
        0.0, description="precision_at_5 by which the whole interval must exceed popularity."
    )
    champion_loss: Share = Field(
        0.02,
        description="Share of the champion's mean precision_at_5 that must not be lost: the lower "
        "end of the interval lies above minus so much. The same holds against the reference.",
    )
    reference_nights: Annotated[int, Field(ge=0, le=10_000)] = Field(
        14,
        description="Nights over which small losses must not add up: against the reference, the "
        "best configuration so far, `level` holds for so many nights together; 0: no reference.",
    )
    coverage: Share = Field(
        0.01, description="Smallest share of the recommendable items that appear in some list."
    )
    list_overlap: Share = Field(
        0.8,
        # Its name in earlier releases is read as well.
        validation_alias=AliasChoices("list_overlap", "alike"),
        description="Largest share of a list that two users have in common, on average.",
    )
    shrink: Share = Field(
        0.2,
        description="Largest share of the champion's users, items, tags or user features that may "
        "be gone, by their ids, and of its likes by their number.",
    )
    shared: Share = Field(
        0.1,
        description="Smallest share of the champion's trained users, or of its items, that are "
        "still there by their ids; below it, these are other data under the same model's name.",
    )

    guard: list[Guard] = Field(
        [],
        description="Guard rails, each a table [[gate.guard]] with metric, segment and margin: "
        "the lower end of the interval against the champion lies above minus the margin.",
    )

    expectations: str | None = Field(
        None,
        description="TOML file of what is expected of the challenger's answers, under the house "
        "rules of batch.rules. By default none.",
    )

    online: bool = Field(
        False,
        description="Hold a challenger that passes until it has won online against the champion; "
        "see the section online.",
    )

    drift_nights: Annotated[int, Field(ge=0, le=100)] = Field(
        7, description="Nights that tonight's data are compared with; 0: drift is not looked for."
    )
    drift_psi: Annotated[float, Field(gt=0)] = Field(
        0.1,
        description="Population stability index above which a distribution drifts, if it is above "
        "what chance explains as well. Usual limits are 0.1 and 0.25.",
    )
    drift_factor: Annotated[float, Field(gt=1)] = Field(
        1.5,
        description="A count or share drifts if it is more than so many times the usual one, or "
        "the usual one is so many times as large, and the nights vary much less.",
    )
    drift_holds: list[Drift] = Field(
        [],
        description="Of what drift holds the challenger; all other drift is a warning. The names "
        "are likes, users, items, likes_a_day, likes_a_night, new_users, lost_users, new_items, "
        "lost_items, likes_a_user, likes_an_item, popular_items, tags, user_features, "
        "rejected_rows and ages.",
    )

    @model_validator(mode="before")
    @classmethod
    def _earlier_releases(cls, given: Any) -> Any:
        """Read what configurations of earlier releases say, where it can still be meant.

        Stored ones have every default: a margin of 0 was the default, and how many bootstrap
        samples there are means nothing to Student's t.
        """
        if not isinstance(given, dict):
            return given
        kept = {name: value for name, value in given.items() if name != "bootstrap_samples"}
        if kept.pop("champion_margin", 0) != 0:
            raise ValueError(
                "champion_loss in the place of champion_margin: a share of the champion's mean, "
                "above minus which the lower end of the interval has to lie"
            )
        return kept


class Batch(Section):
    """What `recsys batch` writes: items for every user, items like every item."""

    n: Positive = Field(20, description="Items in a list.")
    folder: Location = Field("data/output/batch", description="Folder of the lists.")
    workers: Positive = Field(2, description="Threads that rank.")
    only: str | None = Field(
        None,
        description="File of the items that may be on lists: ids, or a table with item, from, "
        "until, in_stock. By default all.",
    )
    rules: str | None = Field(
        None, description="TOML file of house rules that lists of users follow. By default none."
    )
    answers: str | None = Field(
        None,
        description="File of what users were shown, for rules that hide it; default: "
        "data/answers/MODEL.sqlite.",
    )


class Gallery(Section):
    """Pictures of items that `recsys gallery` shows."""

    pictures: str | None = Field(
        None, description="URL of an item's picture, with {id} in it, or 'sketchfab'."
    )
    table: str | None = Field(
        None,
        description="File or URL of an item table with a column of picture URLs; default: the "
        "item features, if they have one.",
    )
    item_column: str = Field("mid", description="Column of the item table with the item's id.")
    column: str | None = Field(
        None,
        description="Column of the item table with the picture's URL; default: found by its name.",
    )
    folder: str = Field("data/output/gallery", description="Folder of maps and pictures.")


class Tracking(Section):
    """MLflow: where runs are recorded and models registered, and under which names."""

    uri: Address = Field(
        default_factory=tracking_uri,
        description="Database or server of MLflow; default: MLFLOW_TRACKING_URI, if it is set.",
    )
    artifacts: Address | None = Field(
        None, description="Folder or URL (s3://bucket/path) for files of new experiments."
    )
    experiment: Name | None = Field(
        None, description="Name of the experiment; default: the name of the data set."
    )
    model: Name | None = Field(
        None, description="Name of the registered model; default: the name of the data set."
    )
    ui: str | None = Field(
        None, description="Address at which people open MLflow, for links to it."
    )
    patience: Annotated[float, Field(ge=0, le=86_400)] = Field(
        120.0, description="Seconds of waiting for a server that does not answer."
    )
    cache: Location | None = Field(
        None,
        description="Folder for bundles of a remote registry; default: RECSYS_MODEL_CACHE.",
    )
    cache_bytes: Annotated[int, Field(ge=0)] = Field(
        10 * 2**30, description="Largest number of bytes of these bundles; the last one used stays."
    )

    metrics: Location | None = Field(
        None,
        description="Folder for the metrics of the last run, MODEL-FLOW.prom in the format of "
        "Prometheus, as for the node exporter's textfile collector; default: none.",
    )
    pushgateway: Address | None = Field(
        None, description="Prometheus Pushgateway that these metrics are sent to; default: none."
    )

    @property
    def page(self) -> str:
        """Address at which people open MLflow: `ui`, the server's, or that of `make ui`."""
        served = self.uri if self.uri.startswith(("http://", "https://")) else LOCAL_UI
        return redacted(self.ui or served).rstrip("/")


class Online(Section):
    """Two versions compared with real users while `recsys serve` answers; off unless it is set."""

    mode: Literal["off", "split", "shadow", "interleave"] = Field(
        "off",
        description="'split': every user gets one of the versions; 'shadow': the challenger's "
        "lists are recorded and not shown; 'interleave': lists of both are merged.",
    )
    champion: VersionName = Field("champion", description="Alias or number of the first version.")
    challenger: VersionName = Field(
        "challenger", description="Alias or number of the version compared with it."
    )
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Share of the users who get the challenger where they are split."
    )
    salt: Annotated[str, Field(max_length=200)] = Field(
        "", description="Changes who gets which version, for a comparison that is begun again."
    )
    log: Address | None = Field(
        None,
        description="File of SQLite for answers and outcomes, or postgresql://…; default: "
        "data/online/MODEL.sqlite.",
    )
    user_ids: Literal["plain", "hashed"] = Field(
        "plain", description="How ids of users are written into this log."
    )
    keep_days: Positive = Field(90, description="Days after which answers are deleted from it.")
    most_bytes: Annotated[int, Field(ge=2**20)] = Field(
        2**30, description="Bytes of this log, at most; the oldest answers are deleted first."
    )
    metric: Literal["clicked", "liked"] = Field(
        "clicked", description="What decides: clicks, or likes, for each item that was seen."
    )
    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="Confidence with which a version wins or loses, at all looks together."
    )
    effect: Annotated[float, Field(gt=0, le=1)] = Field(
        0.05, description="Relative change for which the test is made most powerful."
    )
    least_users: Annotated[int, Field(ge=20)] = Field(
        100, description="Users of either version before which nothing is concluded."
    )


class Storage(Section):
    """Where stages store their products."""

    interim: Location = Field("data/interim", description="Folder of the stages' products.")
    memory: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Bytes that likes may take while they are read, cut to the core and split; "
        "more of them are worked on in parts from disk, with the same result. Default: half of the "
        "machine's memory.",
    )
    likes_log: str | None = Field(
        None,
        description="File of fresh likes, which `recsys serve` writes, training reads and batches "
        "follow; default: data/likes/MODEL.sqlite; '' for none.",
    )


def default_likes_log(model: str) -> Path:
    """Where the fresh likes of a registered model are, unless a setting names another file."""
    return Path("data/likes") / f"{model}.sqlite"


def default_answers_log(model: str) -> Path:
    """Where it is recorded what users were shown of a registered model."""
    return Path("data/answers") / f"{model}.sqlite"


def default_online_log(model: str) -> Path:
    """Where answers and outcomes of a registered model are, unless a setting names another log."""
    return Path("data/online") / f"{model}.sqlite"


class Config(Section):
    """All settings of a training run."""

    dataset: Name = Field(
        "sample", description="Named data set; not used if the section data is given."
    )
    data: Data | None = Field(None, description="your own files instead of a named data set")
    protocol: Literal["standard", "article"] = Field(
        "standard", description="'article' searches and measures as the founding article does."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        2016, description="Seed of everything drawn at random."
    )
    threshold: Threshold = Threshold()
    split: Split = Split()
    encode: Encode = Encode()
    search: Search = Search()
    article: Article = Article()
    evaluate: Evaluate = Evaluate()
    backtest: Backtest = Backtest()
    fit: Fit = Fit()
    gate: Gate = Gate()
    batch: Batch = Batch()
    gallery: Gallery = Gallery()
    tracking: Tracking = Tracking()
    online: Online = Online()
    storage: Storage = Storage()

    @model_validator(mode="after")
    def _guards_are_measured(self) -> Config:
        lengths = {5, *self.evaluate.ks}
        for guard in self.gate.guard:
            k = guard.metric.partition("_at_")[2]
            if k and int(k) not in lengths:
                raise ValueError(
                    f"{k} among evaluate.ks, for the guard rail {guard.label} to be measured"
                )
        return self

    @model_validator(mode="after")
    def _halved_once(self) -> Config:
        if self.data is not None and self.data.half_life and "half_life" in self.search.space:
            raise ValueError("data.half_life or search.space.half_life, not both")
        return self

    @model_validator(mode="after")
    def _repeatable(self) -> Config:
        # All settings are written down for other processes, so the default is never a wish.
        asked = self.evaluate.half_width not in (0, None, DEFAULT_HALF_WIDTH)
        if asked and not self.repeats_holdouts:
            raise ValueError(
                "evaluate.half_width needs a split by user, with validation and test; "
                "recsys backtest repeats a split by time"
            )
        return self

    @property
    def repeats_holdouts(self) -> bool:
        """Whether further users are tested where the test holdout says too little."""
        split = self.effective().split
        by_user = split.method in ("random", "last") and split.holdouts != "one"
        return by_user and bool(self.evaluate.half_width)

    @property
    def goes_by_age(self) -> bool:
        """Whether the search has a half-life or a window, for which times are needed."""
        searches = {
            "standard": (self.search.space, self.search.joint_space),
            "article": (self.article.space, self.article.feature_space),
        }
        names = set().union(*searches[self.protocol])
        return not names.isdisjoint(AGING)

    @property
    def title(self) -> str:
        """The name of the data set, or of the file of interactions."""
        if self.data is None:
            return self.dataset
        # An address may end in a query, with a key in it.
        path = re.split("[?#]", self.data.likes)[0] if "://" in self.data.likes else self.data.likes
        stem = Path(path).name.split(".")[0]
        forbidden = unsafe_characters(stem)
        return "".join("-" if letter in forbidden else letter for letter in stem).strip() or "likes"

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment; by default one for each data set, so that runs compare."""
        return self.tracking.experiment or self.title

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return self.tracking.model or self.title

    @property
    def likes_log(self) -> Path | None:
        """The file of fresh likes, which need not be there; None for none."""
        named = self.storage.likes_log
        return default_likes_log(self.model) if named is None else Path(named) if named else None

    def effective(self) -> Config:
        """The configuration with the settings that its protocol prescribes."""
        if self.protocol == "standard":
            return self
        return self.model_copy(
            update={
                "split": self.split.model_copy(update={"holdouts": "one", "method": "random"}),
                "encode": self.encode.model_copy(
                    update={"normalisation": "none", "min_support": 1, "weight": 1.0}
                ),
            }
        )
