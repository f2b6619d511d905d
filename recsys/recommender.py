"""The recommender: the questions that a trained model answers.

Loading and asking need NumPy and PyArrow only: no LightFM, no MLflow, nothing of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle, Seen, load_bundle
from recsys.factors import Factors
from recsys.idmap import IdMap
from recsys.ranking import top_k


@dataclass(frozen=True)
class Ranked:
    """One row of an answer."""

    id: str
    name: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Recommender:
    """Answers for one trained model.

    Parameters
    ----------
    bundle : Bundle
    """

    bundle: Bundle

    @classmethod
    def load(cls, where: str | Path) -> Recommender:
        """Open a bundle, memory-mapped.

        Parameters
        ----------
        where : str or Path
            A folder, or "models:/NAME@ALIAS" or "models:/NAME/VERSION" of an MLflow registry
            (which needs MLflow installed).

        Raises
        ------
        InputError
            If the folder is no bundle, a file of it is damaged, or its schema is a newer one.
        NotFoundError, RegistryError
            If the registry does not have the model, or does not answer.
        """
        if str(where).startswith("models:/"):
            from recsys.serving import download

            where = download(str(where))
        return cls(load_bundle(Path(where)))

    @property
    def factors(self) -> Factors:
        return self.bundle.factors

    @property
    def users(self) -> IdMap:
        return self.bundle.users

    @property
    def items(self) -> IdMap:
        return self.bundle.items

    @property
    def seen(self) -> Seen:
        return self.bundle.seen

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.bundle.manifest

    def name(self, index: int) -> str:
        """The item's name; its id where it has none."""
        names = self.bundle.names
        name = "" if names is None else names[int(index)].as_py()
        return name or self.items.id(index)

    def recommend(self, user: object, n: int = 10, *, include_seen: bool = False) -> list[Ranked]:
        """The n items the user is most likely to like, without those seen unless asked for.

        Raises
        ------
        NotFoundError
            If the user is unknown.
        """
        index = np.array([self.users.index(user)], dtype=np.int32)
        top = top_k(self.factors, index, n, known=None if include_seen else self.seen)
        return self._rows(top.items[0], top.scores[0])

    def similar(self, item: object, n: int = 10) -> list[Ranked]:
        """The n items whose vectors have the highest cosine to the item's, biases left out.

        Raises
        ------
        NotFoundError
            If the item is unknown.
        """
        index = self.items.index(item)
        cosine = self._directions @ self._directions[index]
        cosine[index] = -np.inf
        n = min(n, len(cosine) - 1)
        best = np.argpartition(-cosine, n - 1)[:n] if n else np.empty(0, np.int64)
        best = best[np.lexsort((best, -cosine[best]))]
        return self._rows(best, cosine[best])

    def liked(self, user: object) -> list[Ranked]:
        """What the user has liked, by the model's score."""
        index = self.users.index(user)
        items = self.seen.of(index)
        factors = self.factors
        scores = factors.item_factors[items] @ factors.user_factors[index]
        scores = scores + factors.item_biases[items] + factors.user_biases[index]
        order = np.argsort(-scores, kind="stable")
        return self._rows(items[order], scores[order])

    def popular(self, n: int = 10) -> list[Ranked]:
        """The n most liked items with their numbers of likes."""
        likes = np.bincount(self.seen.indices, minlength=len(self.items))
        best = np.lexsort((np.arange(len(likes)), -likes))[:n]
        return self._rows(best, likes[best])

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        """Item vectors of length one; an item without a direction has the zero vector."""
        vectors = self.factors.item_factors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    def _rows(self, items: NDArray[np.integer], scores: NDArray[Any]) -> list[Ranked]:
        return [
            Ranked(self.items.id(item), self.name(item), float(score))
            for item, score in zip(items, scores, strict=True)
            if item >= 0
        ]
