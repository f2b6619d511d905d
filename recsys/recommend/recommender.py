"""The recommender: the queries that a trained model answers.

Loading and asking need NumPy and PyArrow only: no LightFM, no MLflow, nothing of the training.
Each kind of query has a module in `recsys.recommend.queries`; the class below
has a method for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recsys.base.errors import InputError, NotFoundError
from recsys.bundle import Bundle, Seen, load_bundle
from recsys.data.answers_log import AnswersLog
from recsys.data.idmap import IdMap
from recsys.data.likes_log import FreshEntries
from recsys.ranking.factors import Factors
from recsys.recommend.availability import HasAvailability
from recsys.recommend.index import FOLDER, Index, build_index, load_index
from recsys.recommend.queries import (
    audience,
    explanation,
    recommendation,
    similarity,
    tag_similarity,
    tag_suggestion,
)
from recsys.recommend.queries.answers import Answer, complete
from recsys.recommend.queries.cold_start import (
    known_user,
    known_users,
    new_item,
    new_user,
    new_users,
    require_remembered,
)
from recsys.recommend.queries.explanation import Explanation
from recsys.recommend.queries.feature_lookup import Feature
from recsys.recommend.queries.filters import ANY, Filters
from recsys.recommend.queries.rows import popularity, rows
from recsys.recommend.queries.scoring import best
from recsys.recommend.queries.subjects import QueryItem, known_item, known_items
from recsys.recommend.queries.tag_similarity import Tags
from recsys.recommend.queries.view import BundleView

if TYPE_CHECKING:  # the recommender needs no pydantic
    from recsys.recommend.house_rules import HasRules


class HasBundle(Protocol):
    """A fitted model that can be made portable."""

    @property
    def bundle(self) -> Bundle: ...


@dataclass(frozen=True, repr=False)
class Recommender:
    """Answers for one trained model.

    All questions take `n`, how many rows at most, and most take `filters`; those ending in `_many`
    take many users or items at once and return a list of answers, in the same order. Ids are
    compared as text. Features are named `tag_anime`, or ("tag", "anime"), or plain `anime` where
    one type alone has that value.

    Parameters
    ----------
    bundle : Bundle
    folder : Path or None
        Where the bundle is, beside which an approximate index may have been built.
    availability : HasAvailability or None
        Which items may be shown; see `recsys.recommend.availability`. By default all.
    fresh : FreshEntries or None
        What users have said since the model was trained, a `recsys.data.likes_log.LikesLog`; it
        counts from the next question on.
    rules : HasRules or None
        How the lists of users are made beside the scores; see `recsys.recommend.house_rules`. By
        default by scores alone.
    answers : AnswersLog or None
        What users were shown, a `recsys.data.answers_log.AnswersLog`, for rules that hide it. Who
        shows an answer records it.
    lists : mapping of str to HasAvailability
        Lists of items by name, for `Filters.lists`.
    """

    bundle: Bundle
    folder: Path | None = None
    availability: HasAvailability | None = None
    fresh: FreshEntries | None = None
    rules: HasRules | None = None
    answers: AnswersLog | None = None
    lists: Mapping[str, HasAvailability] = field(default_factory=dict)

    @classmethod
    def load(cls, where: str | Path) -> Recommender:
        """Open a bundle, memory-mapped.

        Parameters
        ----------
        where : str or Path
            A folder; `recsys.load` opens models of an MLflow registry as well.

        Raises
        ------
        InputError
            If the folder is no bundle, a file of it is damaged, or its schema is a newer one.
        """
        return cls(load_bundle(Path(where)), Path(where))

    @classmethod
    def from_model(cls, model: HasBundle) -> Recommender:
        """Ask a model that was fitted here, see `recsys.fit`; nothing is written.

        Parameters
        ----------
        model : FittedModel
            Or anything with a `bundle`.

        Raises
        ------
        InputError
            If the model is no factor model: an item-to-item model alone has no vectors, and is
            asked by its scores.
        """
        return cls(model.bundle)

    def __repr__(self) -> str:
        where = "" if self.folder is None else f" from {self.folder}"
        return f"<Recommender: {len(self.users):,} users, {len(self.items):,} items{where}>"

    @property
    def factors(self) -> Factors:
        """The model's factors."""
        return self.bundle.factors

    @property
    def users(self) -> IdMap:
        """The ids of all users, those that were trained first."""
        return self.bundle.users

    @property
    def items(self) -> IdMap:
        """The ids of its items, those that were trained first."""
        return self.bundle.items

    @property
    def seen(self) -> Seen:
        """What each user has liked."""
        return self.bundle.seen

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @cached_property
    def view(self) -> BundleView:
        """The bundle with what queries derive from it."""
        given = self.availability, self.fresh, self.rules, self.answers, self.lists
        return BundleView(self.bundle, *given)

    @cached_property
    def index(self) -> Index:
        """The approximate index, for `approximate=True`.

        Raises
        ------
        NotFoundError
            If none was built.
        InputError
            If it is damaged, or that of another bundle.
        ConfigError
            If faiss is not installed.
        """
        return load_index(self.bundle, self._index_folder)

    def build_index(self, folder: str | Path | None = None) -> Index:
        """Build the approximate index, by default where `approximate=True` looks for it.

        Raises
        ------
        ConfigError
            If faiss is not installed.
        """
        where = self._index_folder if folder is None else Path(folder)
        return build_index(self.bundle, where)

    @property
    def _index_folder(self) -> Path:
        if self.folder is None:
            raise NotFoundError(
                "a bundle that is in no folder", "a folder for its index", "save and load it"
            )
        return self.folder / FOLDER

    def require_user(self, user: object) -> None:
        """Check that a user is known, to the model or by fresh likes.

        Raises
        ------
        NotFoundError
            If not.
        """
        require_remembered(self.view, user)
        if str(user) not in self.users and not self.view.fresh_of(user).liked:
            self.users.index(user)

    def name(self, index: int) -> str:
        """The item's name; its id where it has none."""
        return self.view.names(np.array([index]))[0]

    def recommend(
        self,
        user: object,
        n: int = 10,
        filters: Filters = ANY,
        *,
        liked: Sequence[object] = (),
        tags: Sequence[Feature] = (),
        approximate: bool = False,
    ) -> Answer:
        """The n items a user is most likely to like, by score: inner product and both biases.

        The reason of a row is the liked item whose vector is nearest. A user who was not trained
        is answered from their likes, or their features, or by popularity; a note says which.

        Parameters
        ----------
        user : object
            An id.
        n : int
        filters : Filters
        liked : sequence
            Ids of items that they like besides those the model knows of.
        tags : sequence of feature
            Item features that they like.
        approximate : bool
            Of what the index finds, which has to be built; see :mod:`recsys.recommend.index`.

        Returns
        -------
        Answer

        Raises
        ------
        NotFoundError
            If the user, or a feature that must be there, is unknown.
        InputError
            If n is below 1.
        """
        _require_positive(n)
        index = self.index if approximate else None
        asked = known_user(self.view, user, liked, tags)
        return complete(recommendation.recommend(self.view, asked, n, filters, index), n)

    def recommend_many(
        self, users: Sequence[object], n: int = 10, filters: Filters = ANY
    ) -> list[Answer]:
        """As `recommend`, for many users."""
        _require_positive(n)
        known = known_users(self.view, users)
        answers = recommendation.recommend_many(self.view, known, n, filters)
        return [complete(found, n) for found in answers]

    def recommend_for(
        self,
        liked: Sequence[object] = (),
        n: int = 10,
        filters: Filters = ANY,
        *,
        tags: Sequence[Feature] = (),
        features: Sequence[Feature] = (),
    ) -> Answer:
        """The n items a new user is most likely to like; popular ones if nothing is known.

        What is unknown is ignored and named in the answer's notes; so is going by popularity.

        Parameters
        ----------
        liked : sequence
            Item ids.
        n : int
        filters : Filters
        tags : sequence of feature
            Item features this user likes.
        features : sequence of feature
            Features of the user, where the model knows such.
        """
        _require_positive(n)
        user = new_user(self.view, liked, tags, features)
        return complete(recommendation.recommend(self.view, user, n, filters), n)

    def recommend_for_many(
        self, liked: Sequence[Sequence[object]], n: int = 10, filters: Filters = ANY
    ) -> list[Answer]:
        """As `recommend_for`, for many lists of liked items."""
        _require_positive(n)
        users = new_users(self.view, liked)
        answers = recommendation.recommend_many(self.view, users, n, filters)
        return [complete(found, n) for found in answers]

    def similar_items(
        self,
        item: object = None,
        n: int = 10,
        filters: Filters = ANY,
        *,
        features: Sequence[Feature] = (),
        liked_by: Sequence[object] = (),
        approximate: bool = False,
    ) -> Answer:
        """The n items whose vectors have the highest cosine to an item's, biases left out.

        The reason of a row is the rarest features both have.

        Parameters
        ----------
        item : object
            The id of an item of the catalogue; None for a new one, of which is known
        features, liked_by : sequence
            what features it has, and the ids of users who like it.
        approximate : bool
            Of what the index finds, which has to be built; see :mod:`recsys.recommend.index`.

        Raises
        ------
        NotFoundError
            If the item, or all of a new item's features, are unknown.
        InputError
            If nothing is known that gives the item a direction.
        """
        _require_positive(n)
        query_item = self._query_item(item, features, liked_by)
        index = self.index if approximate else None
        return complete(similarity.similar_items(self.view, query_item, n, filters, index), n)

    def similar_items_many(
        self, items: Sequence[object], n: int = 10, filters: Filters = ANY
    ) -> list[Answer]:
        """As `similar_items`, for many items of the catalogue."""
        _require_positive(n)
        query_items = known_items(self.view, items)
        return [
            complete(found, n)
            for found in similarity.similar_items_many(self.view, query_items, n, filters)
        ]

    def items_for_tag(self, tags: Tags, n: int = 10, filters: Filters = ANY) -> Answer:
        """The n items with the highest cosine to a tag, having it or not; the reason says which.

        Parameters
        ----------
        tags : feature, sequence of feature, or mapping of feature to weight
            With several, their vectors (of length one) are added up; a negative weight turns one
            round.

        Raises
        ------
        NotFoundError
            If no tag is known.
        InputError
            If the model has no features, or the tags have no direction or cancel each other out.
        """
        _require_positive(n)
        return complete(tag_similarity.items_for_tag(self.view, tags, n, filters), n)

    def items_for_tag_many(
        self, tags: Sequence[Tags], n: int = 10, filters: Filters = ANY
    ) -> list[Answer]:
        """As `items_for_tag`, for many questions."""
        return [self.items_for_tag(one, n, filters) for one in tags]

    def similar_tags(
        self, tag: Feature, n: int = 10, *, kind: str | None = None, exclude: Sequence[Feature] = ()
    ) -> Answer:
        """The n tags with the highest cosine to a tag, of one type if `kind` is given.

        Raises
        ------
        NotFoundError
            If the tag or the type is unknown.
        InputError
            If the model has no features, or the tag is on no trained item.
        """
        _require_positive(n)
        return complete(tag_similarity.similar_tags(self.view, tag, n, kind, exclude), n)

    def similar_tags_many(
        self,
        tags: Sequence[Feature],
        n: int = 10,
        *,
        kind: str | None = None,
        exclude: Sequence[Feature] = (),
    ) -> list[Answer]:
        """As `similar_tags`, for many tags."""
        return [self.similar_tags(tag, n, kind=kind, exclude=exclude) for tag in tags]

    def suggest_tags(
        self,
        item: object = None,
        n: int = 10,
        *,
        features: Sequence[Feature] = (),
        liked_by: Sequence[object] = (),
        kind: str | None = None,
        exclude: Sequence[Feature] = (),
    ) -> Answer:
        """The n tags that suit an item best, of those it has not, by the votes of items like it.

        Parameters
        ----------
        item, features, liked_by
            As for :meth:`similar_items`.
        n : int
        kind : str, optional
            A type of features.
        exclude : sequence of feature
        """
        _require_positive(n)
        query_item = self._query_item(item, features, liked_by)
        return complete(tag_suggestion.suggest_tags(self.view, query_item, n, kind, exclude), n)

    def suggest_tags_many(
        self,
        items: Sequence[object],
        n: int = 10,
        *,
        kind: str | None = None,
        exclude: Sequence[Feature] = (),
    ) -> list[Answer]:
        """As `suggest_tags`, for many items of the catalogue."""
        return [self.suggest_tags(item, n, kind=kind, exclude=exclude) for item in items]

    def audience(
        self,
        item: object = None,
        n: int = 10,
        filters: Filters = ANY,
        *,
        features: Sequence[Feature] = (),
        liked_by: Sequence[object] = (),
    ) -> Answer:
        """The n users who are most likely to like an item and do not yet.

        The reason of a row is what the user likes that is nearest. Filters count for users.

        Parameters
        ----------
        item, features, liked_by
            As for :meth:`similar_items`.
        n : int
        filters : Filters
        """
        _require_positive(n)
        query_item = self._query_item(item, features, liked_by)
        return complete(audience.audience(self.view, query_item, n, filters), n)

    def audience_many(
        self, items: Sequence[object], n: int = 10, filters: Filters = ANY
    ) -> list[Answer]:
        """As `audience`, for many items of the catalogue."""
        _require_positive(n)
        query_items = known_items(self.view, items)
        return [
            complete(found, n)
            for found in audience.audience_many(self.view, query_items, n, filters)
        ]

    def explain(self, user: object, item: object, n: int = 5) -> Explanation:
        """A user's score for an item taken apart exactly, and the n nearest liked items.

        Raises
        ------
        NotFoundError
            If the user or the item is unknown.
        """
        _require_positive(n)
        return explanation.explain(self.view, user, item, n)

    def explain_many(self, pairs: Sequence[tuple[object, object]], n: int = 5) -> list[Explanation]:
        """As `explain`, for many pairs of user and item."""
        return [self.explain(user, item, n) for user, item in pairs]

    def rank(
        self,
        user: object | None,
        items: Sequence[object],
        *,
        liked: Sequence[object] = (),
        tags: Sequence[Feature] = (),
    ) -> Answer:
        """Put these items into the order in which a user is likely to like them.

        All of them are in the answer, liked ones, untrained ones and those not available too; ids
        that are unknown are ignored, and a note names them.

        Parameters
        ----------
        user : object or None
            An id; None for somebody new.
        items : sequence
            Ids.
        liked, tags : sequence
            What the user likes besides, see :meth:`recommend`.
        """
        if user is None:
            asked = new_user(self.view, liked, tags)
        else:
            asked = known_user(self.view, user, liked, tags)
        return recommendation.rank(self.view, asked, items)

    def liked(self, user: object) -> Answer:
        """What the user has liked, by the model's score."""
        items, scores = recommendation.scores_of_liked(self.view, known_user(self.view, user))
        order = np.argsort(-scores, kind="stable")
        reasons = [""] * len(items)
        return Answer(rows(self.view, items[order], scores[order], reasons))

    def popular(self, n: int = 10) -> Answer:
        """The n most liked items with their numbers of likes."""
        likes = self.view.likes.astype(np.float32)
        if (available := self.view.available()) is not None:
            likes[~available] = -np.inf
        items = best(likes, n)
        reasons = [popularity(self.view, item) for item in items]
        return Answer(rows(self.view, items, likes[items], reasons))

    def _query_item(
        self, item: object, features: Sequence[Feature], liked_by: Sequence[object]
    ) -> QueryItem:
        if item is None:
            return new_item(self.view, features, liked_by)
        if features or liked_by:
            raise InputError(
                f"item {item!r} with features or likes",
                "an item of the catalogue, or what is known of a new one",
                "give one of them",
            )
        return known_item(self.view, item)


def _require_positive(n: int) -> None:
    if n < 1:
        raise InputError(f"n = {n}", "at least 1", "ask for more")
