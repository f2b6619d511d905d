"""Feature lookup: the features of a bundle's vocabulary, found by the names people give them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.base.arrays import BoolArray, Int32Array, IntArray
from recsys.base.arrow import to_arrow
from recsys.base.errors import InputError, NotFoundError
from recsys.base.spelling import closest
from recsys.data.components import is_component
from recsys.models.side import Vocabulary
from recsys.recommend.queries.wording import _NAMED, listed, shortened

Feature = str | tuple[str, str]
"""`tag_anime`, or ("tag", "anime"), or `anime` where only one type has that value."""


@dataclass(frozen=True)
class FeatureLookup:
    """The vocabulary, asked in words.

    Parameters
    ----------
    vocabulary : Vocabulary
    """

    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.vocabulary.features)

    def find(self, feature: Feature) -> int:
        """The index of one feature.

        Raises
        ------
        NotFoundError
            If it is unknown; names the closest ones.
        InputError
            If several types have that value.
        """
        found = self._find(feature)
        if found is None:
            raise self.unknown([feature])
        return found

    def known(self, features: Iterable[Feature]) -> tuple[Int32Array, list[Feature]]:
        """Indices of those that are known, int32, each once in the order given; and the others.

        Raises
        ------
        InputError
            If several types have a value that is given without its type.
        """
        found: dict[int, None] = {}
        unknown: list[Feature] = []
        for feature in features:
            index = self._find(feature)
            if index is None:
                unknown.append(feature)
            else:
                found[index] = None
        return np.array(list(found), np.int32), unknown

    def is_known(self, feature: Feature) -> bool:
        """Whether there is such a feature, be it of one type or of several."""
        try:
            return self._find(feature) is not None
        except InputError:
            return True

    @cached_property
    def components(self) -> BoolArray:
        """Which features are components of embeddings, no words: bool (n_features,)."""
        return is_component(self.vocabulary.values)

    def of_type(self, kind: str) -> BoolArray:
        """Which features are of a type, bool (n_features,).

        Raises
        ------
        NotFoundError
            If there is none.
        """
        mask = np.asarray(self._types == kind.lower())
        if not mask.any():
            types = ", ".join(sorted(set(self._types)))
            raise NotFoundError(f"no features of type {kind!r}", f"one of {types}", "choose one")
        return mask

    def names(self, features: IntArray | Sequence[int]) -> list[str]:
        """Full names of features at several indices."""
        return self.vocabulary.features.take(np.asarray(features, np.int64))

    def values(self, features: IntArray) -> list[str]:
        """Values of features at several indices, without their types."""
        taken = self.vocabulary.values.take(to_arrow(features))
        return [str(value) for value in taken.to_pylist()]

    def unknown(self, features: Iterable[Feature]) -> NotFoundError:
        """The error for features none of which is known."""
        named = [spelled(feature) for feature in features]
        hints = [hint for name in named[:_NAMED] for hint in self._closest(name)]
        do = f"did you mean {', '.join(dict.fromkeys(hints))}?" if hints else "check the spelling"
        return NotFoundError(
            f"no {'feature' if len(named) == 1 else 'features'} {', '.join(map(repr, named))}",
            f"some of {len(self):,} known features",
            do,
        )

    def note(self, features: Iterable[Feature]) -> str:
        """A sentence on features that were not known and ignored."""
        named = [spelled(feature) for feature in features]
        with_hints = []
        for name in named[:_NAMED]:
            close = self._closest(name)[:1]
            with_hints.append(f"{name} (did you mean {close[0]}?)" if close else name)
        return (
            f"{listed('unknown feature', len(named))} ignored: {shortened(with_hints, len(named))}"
        )

    def _find(self, feature: Feature) -> int | None:
        features = self.vocabulary.features
        if not isinstance(feature, str):
            kind, value = (str(part).lower() for part in feature)
            name = f"{kind}_{value}"
            if name in features and self._types[features.index(name)] == kind:
                return features.index(name)
            return None
        for name in (feature, feature.lower()):
            if name in features:
                return features.index(name)
        found = self._by_value.get(feature.lower(), [])
        if len(found) > 1:
            names = self.names(found)
            raise InputError(
                f"{feature!r} is the value of {len(found)} features",
                f"one of {', '.join(names)}",
                "give the type as well",
            )
        return found[0] if found else None

    def _closest(self, name: str) -> list[str]:
        """Closest names; as well those whose values are closest, for a type is seldom given."""
        names = closest(name.lower(), self.vocabulary.features.ids)
        values = closest(name.lower(), self.vocabulary.values)
        found = [other for value in values for other in self.names(self._by_value[value])]
        return list(dict.fromkeys([*names, *found]))[:3]

    @cached_property
    def _types(self) -> NDArray[np.object_]:
        return np.array(self.vocabulary.types.to_pylist(), object)

    @cached_property
    def _by_value(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, value in enumerate(self.vocabulary.values.to_pylist()):
            found.setdefault(value, []).append(index)
        return found


def spelled(feature: Feature) -> str:
    """A feature as text."""
    return feature if isinstance(feature, str) else "_".join(map(str, feature))
