"""Configurations: hyper-parameters of LightFM and of what is made of features, under flat names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from recsys.base.durations import AGING
from recsys.base.errors import ConfigError
from recsys.data.ages import ALL, Aging

Strategy = Literal["none", "mapped", "joint"]
Norm = Literal["l1", "l2"]
NeighbourModel = Literal["none", "ease", "rp3beta"]

Loss = Literal["warp", "bpr", "warp-kos", "logistic"]
Schedule = Literal["adagrad", "adadelta"]
Initialisation = Literal["random", "spectral"]
Trainer = Literal["recsys", "lightfm"]

# Smallest and largest values that LightFM, or a machine's memory, can make use of.
WHOLE = {"no_components": (1, 10_000), "max_sampled": (1, 1_000_000), "k": (1, 1_000_000)}
WHOLE |= {"n": (1, 1_000_000), "blocks": (1, 256)}
REAL = {"learning_rate": (1e-12, 1e30), "user_alpha": (0.0, 1e6), "item_alpha": (0.0, 1e6)}
REAL |= {"rho": (0.0, 1.0), "epsilon": (0.0, 1e6), "weight_power": (0.0, 2.0)}

# Names of earlier releases, which manifests, journals and MLflow's runs still hold.
_RENAMED = {
    "leaning": "content_blending",
    "pooling": "user_blending",
    "strength": "cold_blending",
}


def require_number(
    name: str, value: object, low: float, high: float, *, whole: bool = False
) -> None:
    """Refuse a hyper-parameter that is no number from `low` to `high`.

    Raises
    ------
    ConfigError
        If it is another type, or outside; not-a-number is outside.
    """
    kinds = int if whole else int | float
    # Not a number compares as neither, so it is refused too.
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ConfigError(
            f"{name} {value!r}",
            f"{kind} from {low:g} to {high:g}",
            "change it in search.space, or in the model's configuration",
        )


@dataclass(frozen=True)
class LightFMParameters:
    """Hyper-parameters of LightFM under its own names, and what it is given besides.

    Defaults are LightFM's. Regularisation may be given once for both sides (`from_dict` with
    `alpha`) as the founding article does. `initialisation` is "random", LightFM's own, or
    "spectral" (see `recsys.models.spectral`). The weights of interactions are raised to the power
    `weight_power`; with 0 all count alike. Then they are halved with each `half_life` of age, and
    those older than the `window` are left out, see `recsys.data.ages.Aging`. `trainer` is "recsys",
    the training kernel, or "lightfm"; they learn the same, the kernel several times faster. With
    `blocks`, the kernel cuts each epoch into so many groups of users and of items, for threads to
    work side by side, or items alone into four groups where their features are trained; what is
    learned depends on it. See `recsys.models.lightfm.Training`.
    """

    no_components: int = 10
    learning_rate: float = 0.05
    user_alpha: float = 0.0
    item_alpha: float = 0.0
    max_sampled: int = 10
    loss: Loss = "warp"
    learning_schedule: Schedule = "adagrad"
    rho: float = 0.95
    epsilon: float = 1e-6
    k: int = 5
    n: int = 10
    initialisation: Initialisation = "random"
    weight_power: float = 1.0
    half_life: str = ALL
    window: str = ALL
    trainer: Trainer = "recsys"
    blocks: int = 1

    def __post_init__(self) -> None:
        named = {"loss": Loss, "learning_schedule": Schedule, "initialisation": Initialisation}
        for name, kind in {**named, "trainer": Trainer}.items():
            if getattr(self, name) not in (allowed := get_args(kind)):
                raise ConfigError(
                    f"{name} {getattr(self, name)!r}",
                    f"one of {', '.join(allowed)}",
                    "change it in search.space",
                )
        for entry in fields(self):
            if isinstance(entry.default, int | float):
                whole = entry.name in WHOLE
                low, high = (WHOLE if whole else REAL)[entry.name]
                require_number(entry.name, getattr(self, entry.name), low, high, whole=whole)
        halved = self.aging.half_life != ALL
        if halved and self.loss == "warp-kos":
            raise ConfigError(
                f"the loss warp-kos with a half_life of {self.half_life}",
                "a loss that LightFM can weigh interactions with: warp, bpr or logistic",
                "change the loss in search.space, or give a window instead",
            )

    @property
    def aging(self) -> Aging:
        """How the age of interactions counts."""
        return Aging(self.half_life, self.window)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LightFMParameters:
        """From a search's configuration; NumPy numbers become plain ones.

        `alpha` stands for both regularisations, `user_alpha_scale` for the ratio of the user's
        to the item's.

        Raises
        ------
        ConfigError
            If a name is none of LightFM's, or a loss or schedule is unknown.
        """
        values = dict(values)
        if "alpha" in values:
            values["user_alpha"] = values["item_alpha"] = values.pop("alpha")
        if "user_alpha_scale" in values:
            values["user_alpha"] = values.pop("user_alpha_scale") * values.get("item_alpha", 0)
        known = {entry.name for entry in fields(cls)}
        if unknown := set(values) - known:
            raise ConfigError(
                f"no hyper-parameter {sorted(unknown)[0]!r}",
                f"one of {', '.join(sorted(known | {'alpha', 'user_alpha_scale'}))}",
                "rename it in search.space",
            )
        return cls(**{name: _plain(value) for name, value in values.items()})

    def for_lightfm(self) -> dict[str, Any]:
        """The arguments of LightFM's constructor."""
        ours = ("initialisation", "weight_power", "trainer", "blocks", *AGING)
        return {name: value for name, value in asdict(self).items() if name not in ours}


def _plain(value: Any) -> Any:
    # LightFM refuses NumPy integers, JSON refuses NumPy floats.
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class HybridParameters:
    """What is done with features and with fold-in, beside the hyper-parameters of LightFM.

    Parameters
    ----------
    strategy : {"none", "mapped", "joint"}
        Identity only; identity only and feature vectors by regression afterwards; an identity
        block and the features trained together, as in the founding article.
    penalty, bias_gain : float
        Of the regression; see `recsys.models.mapping`.
    content_blending : float
        `mapped`: the share of the features in a trained item's vector is
        content_blending / (content_blending + interactions); 0 leaves trained items as they are.
    user_blending : float
        The share of a trained user's vector that is folded in from their interactions, from 0
        to 1. Not with `joint`.
    cold_blending : float
        The same as `content_blending` for items and users that come after training: with n
        interactions the share of their features is cold_blending / (cold_blending + n).
    min_support : int
        `joint`: features on fewer items are left out.
    normalisation : {"l1", "l2"} or None
        `joint`: rows of features scaled to this norm; None leaves them as they were encoded.
    feature_weight : float
        `joint`: factor on the features beside an identity of one.
    features_below : int or None
        `joint`: only items with fewer interactions have features; None for all.
    neighbours : {"none", "ease", "rp3beta"}
        The item-to-item model whose scores are added to those of the factors.
    neighbours_weight : float
        Of these scores, both parts brought to the same spread; see `recsys.models.blending`.
    neighbours_regularization, neighbours_dropout : float
        `ease`: see `recsys.models.ease`.
    neighbours_alpha, neighbours_beta : float
        `rp3beta`: see `recsys.models.rp3beta`.
    neighbours_kept : int
        Weights of each item that are kept.
    neighbours_nearest : int
        `ease`, on large catalogues: how many others an item is regressed on.
    neighbours_half_life, neighbours_window : str
        How the age of interactions counts, see `recsys.data.ages.Aging`.

    Raises
    ------
    ConfigError
        If a strategy, a norm or an item-to-item model is unknown, the weight is not a number from
        0 on, or a half-life or window is no duration.
    """

    strategy: Strategy = "none"
    penalty: float = 1.0
    bias_gain: float = 1.0
    content_blending: float = 0.0
    user_blending: float = 0.0
    cold_blending: float = 5.0
    min_support: int = 1
    normalisation: Norm | None = None
    feature_weight: float = 1.0
    features_below: int | None = None
    neighbours: NeighbourModel = "none"
    neighbours_weight: float = 1.0
    neighbours_regularization: float = 20.0
    neighbours_dropout: float = 0.33
    neighbours_alpha: float = 0.8
    neighbours_beta: float = 0.3
    neighbours_kept: int = 200
    neighbours_nearest: int = 100
    neighbours_half_life: str = ALL
    neighbours_window: str = ALL

    def __post_init__(self) -> None:
        named = ("strategy", Strategy), ("normalisation", Norm), ("neighbours", NeighbourModel)
        for name, allowed in named:
            value = getattr(self, name)
            if value is not None and value not in get_args(allowed):
                raise ConfigError(
                    f"{name} {value!r}",
                    f"one of {', '.join(get_args(allowed))}",
                    "change it in search.space",
                )
        require_number("neighbours_weight", self.neighbours_weight, 0.0, 1e6)
        Aging(self.neighbours_half_life, self.neighbours_window)


HYBRID_NAMES = frozenset(entry.name for entry in fields(HybridParameters))


def with_current_names(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that an earlier release wrote, under the names of this one."""
    return {_RENAMED.get(name, name): value for name, value in configuration.items()}


def parse_configuration(
    configuration: Mapping[str, Any],
) -> tuple[LightFMParameters, HybridParameters]:
    """Split a configuration into LightFM's hyper-parameters and those of features and fold-in.

    Raises
    ------
    ConfigError
        If a name is of neither, or a value is not allowed.
    """
    values = with_current_names(configuration)
    ours = {name: value for name, value in values.items() if name in HYBRID_NAMES}
    rest = {name: value for name, value in values.items() if name not in HYBRID_NAMES}
    return LightFMParameters.from_dict(rest), HybridParameters(**ours)
