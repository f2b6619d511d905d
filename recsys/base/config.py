"""Configuration: what may be set, section by section, and its defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
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
)
from recsys.base.environment import tracking_uri
from recsys.base.fields import (
    Address,
    Character,
    Column,
    Location,
    Margin,
    Name,
    Positive,
    Samples,
    Section,
    Share,
    unsafe_characters,
)
from recsys.base.redaction import redacted

LOCAL_UI = "http://127.0.0.1:5000"


class Data(Section):
    """Where the likes and features are, and what their columns are called."""

    likes: Address = Field(description="file, folder or URL of the interactions")
    features: Address | None = Field(None, description="item features: item, type, value")
    user_features: Address | None = Field(None, description="user features: user, type, value")
    delimiter: Character = Field("|", description="between the fields of a text file")
    quote: Character | None = Field('"', description="'' if there is none")
    escape: Character | None = Field("\\", description="'' if there is none")
    encoding: str = Field("utf-8", description="of text files")
    user_column: Column = Field("uid", description="the user's id in the likes")
    item_column: Column = Field("mid", description="the item's id in the likes")
    name_column: Column | None = Field("modelname", description="the item's name in the likes")
    weight_column: Column | None = Field(None, description="a positive number for each like")
    timestamp_column: Column | None = Field(None, description="when each like was given")
    feature_item_column: Column | None = Field(None, description="by default item_column")
    feature_user_column: Column | None = Field(None, description="by default user_column")
    feature_type_column: Column = Field("type", description="such as tag or category")
    feature_value_column: Column = Field("value", description="such as anime")
    feature_weight_column: Column | None = Field(
        None, description="a positive number for each feature of an item"
    )

    @field_validator("quote", "escape", mode="before")
    @classmethod
    def _none(cls, mark: Any) -> Any:
        """TOML has no null."""
        return None if mark == "" else mark

    @model_validator(mode="after")
    def _tell_apart(self) -> Data:
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks):
            raise ValueError(
                "marks that differ: delimiter, quote, escape (a doubled quote is read too)"
            )
        if any(not mark.isascii() or mark in "\0\r\n" for mark in marks):
            raise ValueError("delimiter, quote and escape of ASCII and no line break")
        if self.user_column == self.item_column:
            raise ValueError(f"two columns, not {self.user_column!r} for users and items")
        return self


class Threshold(Section):
    """The k-core: repeated until every user and item has its minimum."""

    user_min: Positive = Field(5, description="likes that a user has at least")
    item_min: Positive = Field(5, description="likes that an item has at least")


class Split(Section):
    """What is held out."""

    method: Literal["random", "last"] = Field("random", description="'last' goes by timestamp")
    holdouts: Literal["validation and test", "one"] = Field(
        "validation and test",
        description="'one' searches and tests on the same, as the article does",
    )
    n: Positive = Field(5, description="interactions held out of each chosen user")
    share: Share = Field(0.2, description="of all users, for each holdout")
    cold_share: Share = Field(0.1, description="of the items with features")


class Encode(Section):
    """How features become numbers."""

    min_support: Positive = Field(1, description="items a feature must be on")
    normalisation: Literal["none", "l1", "l2"] = Field(
        "l2", description="norm that the features of an item are scaled to"
    )
    weight: Annotated[float, Field(gt=0)] = Field(
        1.0, description="factor on the features beside the identity"
    )
    identity: bool = Field(True, description="a column of its own for every item and user")


class Search(Section):
    """The hyper-parameter search."""

    # Who trains, and where, changes nothing of what is found.
    unkeyed: ClassVar[frozenset[str]] = frozenset(
        {"workers", "runner", "cluster", "exchange", "checkpoint_bytes"}
    )

    trials: Samples = Field(30, description="configurations tried, at most")
    seconds: Annotated[float, Field(gt=0)] | None = Field(
        None, description="no new trial after so many seconds of wall time"
    )
    max_epochs: Positive = Field(260, description="of a trial")
    batch: Positive = Field(
        4, description="trials under way at once, whoever trains them; part of what a study is"
    )
    workers: Positive = Field(2, description="how many train them, one trial and one core each")
    runner: Literal["threads", "processes", "dask", "ray"] = Field(
        "threads", description="what they are: threads, processes, dask or ray"
    )
    cluster: Address | None = Field(
        None, description="address of a Dask or Ray cluster; by default one for the run is started"
    )
    exchange: Address | None = Field(
        None, description="folder or URL that a cluster's workers reach; by default storage.interim"
    )
    checkpoint_bytes: Annotated[int, Field(ge=0)] = Field(
        2_000_000_000,
        description="bytes of memory for models of paused trials (threads); others wait in files",
    )
    space: Space = Field(
        default_factory=lambda: dict(DEFAULT_SPACE), description="names left out keep the default"
    )
    joint_trials: Annotated[int, Field(ge=0)] = Field(
        0, description="with features trained jointly, after the others; each takes far longer"
    )
    joint_space: Space = Field(
        default_factory=lambda: dict(JOINT_SPACE), description="their dimensions besides"
    )

    @field_validator("space")
    @classmethod
    def _completed(cls, space: Space) -> Space:
        """One dimension can be set without writing the others again."""
        replaced = {"alpha": {"user_alpha", "item_alpha"}, "user_alpha_scale": {"user_alpha"}}
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
        return JOINT_SPACE | space


class Article(Section):
    """The founding article's searches, for `protocol = "article"`."""

    calls: Samples = Field(250, description="trials without features")
    feature_calls: Annotated[int, Field(ge=0)] = Field(
        50, description="trials with features, the first at the best of those without"
    )
    space: Space = Field(
        default_factory=lambda: dict(ARTICLE_SPACE), description="of the trials without features"
    )
    feature_space: Space = Field(
        default_factory=lambda: dict(ARTICLE_FEATURE_SPACE), description="of those with features"
    )
    max_epochs: Positive = Field(260, description="of a trial")


class Evaluate(Section):
    """What is measured on the test holdout."""

    ks: list[Positive] = Field([5, 10, 20], description="lengths of lists that are measured")
    bootstrap_samples: Samples = Field(1000, description="of an interval")
    als_trials: Annotated[int, Field(ge=0)] = Field(4, description="0 leaves ALS out")
    withheld: bool = Field(
        True, description="one more fit, without the cold items and some users, to serve them"
    )


class Fit(Section):
    """The final fit on all interactions."""

    threads: Positive = Field(1, description="more than one is faster and not reproducible")


class Gate(Section):
    """What a challenger has to show before it becomes champion."""

    level: Share = Field(0.95, description="of the bootstrap intervals below")
    bootstrap_samples: Samples = Field(1000, description="of an interval")
    popularity_margin: Margin = Field(
        0.0, description="precision_at_5 by which the whole interval must beat popularity"
    )
    champion_margin: Margin = Field(
        0.0, description="precision_at_5 by which the whole interval may be below the champion"
    )
    coverage: Share = Field(
        0.01, description="of the items that lists could show, the share that some list shows"
    )
    alike: Share = Field(0.8, description="share of a list that two users may have in common")
    shrink: Share = Field(
        0.2, description="share of the champion's users, items or likes that may be missing"
    )


class Batch(Section):
    """What `recsys batch` writes: items for every user, items like every item."""

    n: Positive = Field(20, description="items a list")
    folder: Location = Field("data/output/batch", description="where the lists are written")
    workers: Positive = Field(2, description="threads that rank")


class Gallery(Section):
    """What `recsys gallery` shows beside the model: pictures of items."""

    pictures: str | None = Field(
        None, description='URL of an item\'s picture with {id} in it, or "sketchfab"'
    )
    table: str | None = Field(None, description="an item table with a column of such URLs")
    item_column: str = Field("mid", description="of that table")
    column: str | None = Field(None, description="of that table, with the URLs")
    folder: str = Field("data/output/gallery", description="where maps and pictures are kept")


class Tracking(Section):
    """MLflow: where runs go and what the registered model is called."""

    uri: Address = Field(
        default_factory=tracking_uri,
        description="a database or a server's address; without it what MLFLOW_TRACKING_URI says",
    )
    artifacts: Address | None = Field(
        None, description="folder or URL (s3://bucket/path) of new experiments' files"
    )
    experiment: Name | None = Field(None, description="by default named after the data set")
    model: Name | None = Field(None, description="by default named after the data set")
    ui: str | None = Field(None, description="where people open MLflow, for links to it")
    patience: Annotated[float, Field(ge=0, le=86_400)] = Field(
        120.0, description="seconds that a server which does not answer is waited for"
    )
    cache: Location | None = Field(
        None,
        description="folder for bundles of a registry elsewhere; without it what "
        "RECSYS_MODEL_CACHE says, or a folder in the user's cache directory",
    )
    cache_bytes: Annotated[int, Field(ge=0)] = Field(
        10 * 2**30, description="bytes of these bundles, at most; the one used last stays"
    )

    @property
    def page(self) -> str:
        """Where people open MLflow: what was set, the server itself, or what `make ui` serves."""
        served = self.uri if self.uri.startswith(("http://", "https://")) else LOCAL_UI
        return redacted(self.ui or served).rstrip("/")


class Storage(Section):
    """Where stages keep their products."""

    interim: Location = Field("data/interim", description="the folder of all stages")


class Config(Section):
    """Everything a training run can be told."""

    dataset: Name = Field("sample", description="a named data set; `data` goes before it")
    data: Data | None = Field(None, description="your own files instead of a named data set")
    protocol: Literal["standard", "article"] = Field(
        "standard", description="'article' measures and searches as the founding article does"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        2016, description="fixes everything that is drawn at random"
    )
    threshold: Threshold = Threshold()
    split: Split = Split()
    encode: Encode = Encode()
    search: Search = Search()
    article: Article = Article()
    evaluate: Evaluate = Evaluate()
    fit: Fit = Fit()
    gate: Gate = Gate()
    batch: Batch = Batch()
    gallery: Gallery = Gallery()
    tracking: Tracking = Tracking()
    storage: Storage = Storage()

    @property
    def title(self) -> str:
        """What the run is about: the data set's name, or that of the likes file."""
        if self.data is None:
            return self.dataset
        # An address may end in a query, with a key in it.
        path = re.split("[?#]", self.data.likes)[0] if "://" in self.data.likes else self.data.likes
        stem = Path(path).name.split(".")[0]
        forbidden = unsafe_characters(stem)
        return "".join("-" if letter in forbidden else letter for letter in stem).strip() or "likes"

    @property
    def experiment(self) -> str:
        """The MLflow experiment: one a data set, so that its nights can be compared."""
        return self.tracking.experiment or self.title

    @property
    def model(self) -> str:
        """The name in the registry."""
        return self.tracking.model or self.title

    def effective(self) -> Config:
        """The configuration with a protocol's prescriptions written out."""
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
