"""What the stages that learn and judge found out, one frozen dataclass a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from recsys.data.outcomes import Encoded, HeldOut, Ingested, Thresholded
from recsys.evaluation.comparison import TriedStrategy
from recsys.evaluation.gate import Condition
from recsys.store.stages import Outcome, Stage
from recsys.tuning.space import Configuration


@dataclass(frozen=True, kw_only=True)
class Chosen(Outcome):
    """A configuration to train, whether a search found it or the champion has it.

    Parameters
    ----------
    configuration : mapping
        Hyper-parameters of LightFM and of features, without the epochs.
    epochs : int
    strategies : mapping of str to TriedStrategy
        The best trial of each strategy, without neighbours.
    closed_forms : mapping of str to mapping
        The best hyper-parameters of each item-to-item model that was tried.
    started_from : tuple of configurations
        Those that the search began with, or the next one is to begin with.
    """

    kind: ClassVar[Literal["study", "refresh"]]

    configuration: Configuration
    epochs: int
    strategies: Mapping[str, TriedStrategy]
    closed_forms: Mapping[str, Configuration] = field(default_factory=dict)
    started_from: tuple[Configuration, ...] = ()

    @property
    def trained(self) -> Configuration:
        """The configuration with the number of `epochs` among it."""
        return {**self.configuration, "epochs": self.epochs}


@dataclass(frozen=True, kw_only=True)
class Tuned(Chosen):
    """What a search found.

    Parameters
    ----------
    trials : int
    precision_at_5 : float
        Of the winner, on the validation holdout.
    ended : str
        Why the search ended.
    """

    kind: ClassVar[Literal["study", "refresh"]] = "study"

    trials: int
    precision_at_5: float
    ended: str


@dataclass(frozen=True, kw_only=True)
class Adopted(Chosen):
    """The champion's configuration, taken over without a search."""

    kind: ClassVar[Literal["study", "refresh"]] = "refresh"


@dataclass(frozen=True)
class Evaluated(Outcome):
    """What was measured once.

    Parameters
    ----------
    holdout : {"test", "validation"}
        `validation` where it is the only holdout, which the search has seen.
    precision_at_5 : mapping of str to float
        Means over users, by model.
    """

    holdout: Literal["test", "validation"]
    precision_at_5: Mapping[str, float]

    def counts(self) -> dict[str, Any]:
        """The holdout, and the precision of each model under its name."""
        return {"holdout": self.holdout, **self.precision_at_5}


@dataclass(frozen=True)
class Repeated(Outcome):
    """What repeated holdouts reached: folds, users, and the relative half-width of the interval.

    `ended` says why no further fold was made.
    """

    folds: int
    users: int
    half_width: float
    ended: str


@dataclass(frozen=True)
class Fitted(Outcome):
    """The size of what the winner was fitted on, its components, and the items of its catalogue."""

    users: int
    items: int
    interactions: int
    components: int
    catalogue: int


@dataclass(frozen=True)
class Reason:
    """A condition of the gate that failed, and a sentence that says how."""

    condition: Condition
    text: str


@dataclass(frozen=True)
class Judged(Outcome):
    """What the gate decided.

    Parameters
    ----------
    passed : bool
    reasons : tuple of Reason
        Empty for a challenger that passes.
    champion : str or None
        The version it was judged against; None for popularity alone.
    overlap : float or None
        Mean share of a list that stays as the champion has it.
    reference : str or None
        The version whose configuration is the best so far; None where it is not compared with.
    beats_reference : bool
        Whether the challenger's configuration is the best so far from now on: it was shown to be
        better, or there is no other.
    """

    passed: bool
    reasons: tuple[Reason, ...]
    champion: str | None
    overlap: float | None
    reference: str | None = None
    beats_reference: bool = True

    def counts(self) -> dict[str, Any]:
        """The outcome with the reasons as sentences."""
        return super().counts() | {"reasons": [reason.text for reason in self.reasons]}


@dataclass(frozen=True)
class Drifted(Outcome):
    """What of tonight's data differs from earlier nights, a sentence each, and how many those are.

    `compared` is the number of figures that were compared; `profile` names tonight's by content.
    """

    nights: int
    compared: int
    drifts: tuple[str, ...]
    profile: str

    def told(self) -> tuple[str, ...]:
        """What drifts."""
        return tuple(f"drift: {sentence}" for sentence in self.drifts)


@dataclass(frozen=True)
class EarlierNight:
    """The version of an earlier night, and the profile of the data that it was made of."""

    version: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class Rival:
    """The version that a challenger is judged against: its number, and its bundle's digest."""

    version: str
    bundle: str


@dataclass(frozen=True)
class Reference:
    """The best configuration so far, which small losses are added up against.

    Parameters
    ----------
    version : str
        The registered version that has it.
    configuration : mapping
        As that version's manifest has it.
    """

    version: str
    configuration: Configuration


@dataclass(frozen=True)
class Source:
    """The registered version that a batch is made from, and its bundle's digest."""

    model: str
    version: str
    bundle: str


@dataclass(frozen=True)
class Listed(Outcome):
    """What a batch holds: the version it is from, items a list, lists and their rows.

    `users_trained` lists are of users that were trained; the others go by their likes, by their
    features, or by popularity.
    """

    model: str
    version: str
    bundle: str
    n: int
    users: int
    users_rows: int
    items: int
    items_rows: int
    users_trained: int
    users_by_likes: int
    users_by_features: int
    users_by_popularity: int


@dataclass(frozen=True)
class TrainingStages:
    """The products of one training run, in the order in which they were made."""

    data: Stage[Ingested]
    core: Stage[Thresholded]
    holdouts: Stage[HeldOut]
    features: Stage[Encoded]
    chosen: Stage[Chosen]
    measured: Stage[Evaluated]
    fitted: Stage[Fitted]
    verdict: Stage[Judged]
    repeated: Stage[Repeated] | None = None
    drifted: Stage[Drifted] | None = None

    def counts(self) -> dict[str, dict[str, Any]]:
        """The outcome of each stage as plain values, by the stage's name."""
        stages: list[Stage[Outcome] | None] = [getattr(self, entry.name) for entry in fields(self)]
        return {stage.name: stage.counts() for stage in stages if stage is not None}
