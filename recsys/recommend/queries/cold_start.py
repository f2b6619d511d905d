"""Users and items as a query sees them, those that were not trained described without a refit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recsys.base.arrays import Float32Array, Int32Array, IntArray
from recsys.base.errors import InputError, NotFoundError
from recsys.data.likes_log import FreshLikes
from recsys.models.side import SideInformation
from recsys.models.untrained import BY_FEATURES, BY_LIKES, BY_POPULARITY, feature_share
from recsys.recommend.queries.feature_lookup import Feature, FeatureLookup
from recsys.recommend.queries.scoring import compressed
from recsys.recommend.queries.subjects import QueryItem, QueryUser, known_ids, known_ids_many
from recsys.recommend.queries.view import BundleView, side_of
from recsys.recommend.queries.wording import listed

_ANSWERED_FROM = {
    BY_LIKES: "not trained, for too few likes: answered from {}",
    BY_FEATURES: "not trained, and no likes that say something: answered from their features",
}


def new_item(
    view: BundleView, features: Sequence[Feature] = (), liked_by: Sequence[object] = ()
) -> QueryItem:
    """An item still to come: from its features, from users who like it, or blended.

    The share of the features is blending / (blending + likes), as in training. The bias is that
    of the features; it moves the scores of all users alike.

    Parameters
    ----------
    features : sequence of feature
    liked_by : sequence
        User ids.

    Raises
    ------
    NotFoundError
        If features are all there is, and none is known.
    InputError
        If nothing is known of it.
    """
    _require_list("features", features)
    _require_list("liked_by", liked_by)
    notes: list[str] = []
    side = view.bundle.item_features
    known, weights = _features(side, view.item_lookup, features, notes, "item")
    users = known_ids(view.bundle.users, liked_by, notes)
    own: Float32Array | None = None
    if len(users) and view.bundle.item_foldin is not None:
        own = view.bundle.item_foldin.user(view.user_vectors(users), np.arange(len(users)))
    elif len(users):
        notes.append("this model cannot learn from who likes a new item: likes ignored")
    mapped, bias = _mapped(side, known, weights)
    if own is None and not mapped.any():
        raise _nothing_known(view, features, liked_by, len(known))
    vector = _blend(mapped, own, side, len(users))
    title = (
        ", ".join(view.item_lookup.names(known))
        if view.item_lookup and len(known)
        else "a new item"
    )
    return QueryItem(title, vector, bias, known, users, notes=tuple(notes))


def _nothing_known(
    view: BundleView, features: Sequence[Feature], liked_by: Sequence[object], n_known: int
) -> Exception:
    if features and not liked_by and view.item_lookup is not None and n_known == 0:
        return view.item_lookup.unknown(features)
    found = "a new item without a known feature or a known user who likes it"
    if n_known:
        found = "a new item whose features are on no trained item"
    if view.bundle.item_features is None and features:
        found += " (this model knows no item features)"
    return InputError(found, "at least one that says something", "give it features or likes")


def new_user(
    view: BundleView,
    liked: Sequence[object] = (),
    tags: Sequence[Feature] = (),
    features: Sequence[Feature] = (),
) -> QueryUser:
    """A user never seen: from items liked, from tags liked, from features of their own.

    Likes are folded in; a tag counts as one more item, with the tag's vector. Features of the
    user take the share blending / (blending + likes), as in training.
    """
    for name, given in (("liked", liked), ("tags", tags), ("features", features)):
        _require_list(name, given)
    notes: list[str] = []
    bundle = view.bundle
    items = known_ids(bundle.items, liked, notes)
    liked_tags, _ = _features(bundle.item_features, view.item_lookup, tags, notes, "item")
    own_features, weights = _features(
        bundle.user_features, view.user_lookup, features, notes, "user"
    )
    return _described(view, items, liked_tags, own_features, weights, notes)[0]


def new_users(view: BundleView, liked: Sequence[Sequence[object]]) -> list[QueryUser]:
    """As `new_user`, for many of whom likes are known; their vectors are made at once."""
    bundle, untrained = view.bundle, view.bundle.untrained
    for items in liked:
        _require_list("liked", items)
    notes: list[list[str]] = [[] for _ in liked]
    known = known_ids_many(bundle.items, liked, notes)
    usual = [
        place
        for place, items in enumerate(known)
        if bundle.user_foldin is not None and len(items) and untrained.directed[items].all()
    ]
    found: dict[int, QueryUser] = {}
    if bundle.user_foldin is not None and usual:
        likes = compressed([known[place] for place in usual], len(bundle.items))
        folded = bundle.user_foldin.users(view.vectors, likes)
        folded = folded * np.float32(bundle.untrained_weights.foldin)
        found = {
            place: QueryUser(vector, 0.0, known[place], notes=tuple(notes[place]))
            for place, vector in zip(usual, folded, strict=True)
        }
    return [
        found[place] if place in found else new_user(view, items)
        for place, items in enumerate(liked)
    ]


def known_user(
    view: BundleView,
    user: object,
    liked: Sequence[object] = (),
    tags: Sequence[Feature] = (),
    said: FreshLikes | None = None,
) -> QueryUser:
    """A user of the bundle, trained or not, and what they like besides.

    The vector of a trained user moves by what the new likes change of the fold-in. That of another
    one is made of all likes and of their features, and a note says which of them answers.

    Parameters
    ----------
    user : object
        An id.
    liked : sequence
        More items that they like.
    tags : sequence of feature
        Item features that they like.
    said : FreshLikes or None
        What they have said since the model was trained; None to ask the log, which also knows
        whether they were forgotten.

    Raises
    ------
    NotFoundError
        If the user is unknown, or was forgotten.
    """
    for name, given in (("liked", liked), ("tags", tags)):
        _require_list(name, given)
    bundle = view.bundle
    if said is None:
        require_remembered(view, user)
        said = view.fresh_of(user)
    notes: list[str] = []
    hidden = known_ids(bundle.items, said.hidden, [])
    new = known_ids(bundle.items, [*said.liked, *liked], notes)
    if said.liked and str(user) not in bundle.users:
        index, before = None, new[:0]
    else:
        index = bundle.users.index(user)
        before = bundle.seen.of(index)
    removed = known_ids(bundle.items, said.removed, [])
    if index is not None and bundle.hidden is not None:
        # A like that was undone also undoes that the item was of no interest before.
        hidden = np.union1d(hidden, np.setdiff1d(bundle.hidden_from(index), removed))
    old = before[~np.isin(before, removed)] if len(removed) else before
    liked_tags, _ = _features(bundle.item_features, view.item_lookup, tags, notes, "item")
    # Looking for new ones among the old takes longer than ranking does in a large batch.
    items = np.concatenate([old, new[~np.isin(new, old)]]) if len(new) else old
    if index is not None and index < bundle.trained_users:
        own = bundle.factors.user_factors[index]
        changed = len(items) > len(old) or len(old) < len(before) or len(liked_tags) > 0
        if changed and bundle.user_foldin is not None:
            after = _folded(view, _liked_vectors(view, items, liked_tags, notes))
            own = own + (after - _folded(view, _liked_vectors(view, before, liked_tags[:0], [])))
        bias = float(bundle.factors.user_biases[index])
        return QueryUser(
            own,
            bias,
            items,
            liked_tags,
            hidden=hidden,
            trained=True,
            id=str(user),
            notes=tuple(notes),
        )
    features, weights = side_of(None if index is None else bundle.user_features, index or 0)
    found, basis = _described(view, items, liked_tags, features, weights, notes, known=True)
    words = _ANSWERED_FROM.get(basis, "").format(listed("like", len(found.liked)))
    more = (words,) if words else ()
    return replace(found, hidden=hidden, id=str(user), notes=(*found.notes, *more))


def require_remembered(view: BundleView, user: object) -> None:
    """Check that a user was not forgotten.

    Raises
    ------
    NotFoundError
        If they were.
    """
    if view.is_forgotten(user):
        raise NotFoundError(f"no user {str(user)!r}", "a user who is known", "check the id")


def known_users(view: BundleView, users: Sequence[object]) -> list[QueryUser]:
    """As `known_user`, for many users and without further likes.

    Raises
    ------
    NotFoundError
        If a user is unknown.
    """
    if view.fresh is not None:
        return [known_user(view, user) for user in users]
    bundle = view.bundle
    factors, seen = bundle.factors, bundle.seen
    indices = bundle.users.indices(users)
    trained = indices < bundle.trained_users
    vectors = factors.user_factors[indices[trained]]
    biases = factors.user_biases[indices[trained]].tolist()
    own = iter(zip(vectors, biases, strict=True))
    others = _untrained_users(view, indices[~trained])
    return [
        QueryUser(
            *next(own),
            seen.of(index),
            hidden=bundle.hidden_from(index),
            trained=True,
            id=str(user),
        )
        if is_trained
        else others.get(index) or known_user(view, user)
        for user, index, is_trained in zip(users, indices.tolist(), trained.tolist(), strict=True)
    ]


def _untrained_users(view: BundleView, indices: IntArray) -> dict[int, QueryUser]:
    """As `known_user`, those whose likes all say something, made at once; by their index."""
    bundle = view.bundle
    if bundle.user_foldin is None or not len(indices):
        return {}
    found = bundle.untrained.vectors(indices)
    biases, directed = found.biases.tolist(), bundle.untrained.directed
    users = {}
    for place in np.flatnonzero(found.basis == BY_LIKES).tolist():
        index = int(indices[place])
        liked = bundle.seen.of(index)
        if directed[liked].all():
            users[index] = QueryUser(
                found.vectors[place],
                biases[place],
                liked,
                features=side_of(bundle.user_features, index)[0],
                hidden=np.unique(bundle.hidden_from(index)),
                id=bundle.users.id(index),
                notes=(_ANSWERED_FROM[BY_LIKES].format(listed("like", len(liked))),),
            )
    return users


def _described(
    view: BundleView,
    items: IntArray,
    tags: IntArray,
    features: IntArray,
    weights: Float32Array,
    notes: list[str],
    known: bool = False,
) -> tuple[QueryUser, int]:
    """A user that was not trained, and what the answer goes by."""
    bundle = view.bundle
    vectors = _liked_vectors(view, items, tags, notes)
    mapped, bias = _mapped(bundle.user_features, features, weights)
    user = QueryUser(None, bias, items, tags, features)
    if not len(vectors) and not mapped.any():
        nothing = "nothing that says something" if known else "nothing"
        why = "nothing else is known of this user" if notes else f"{nothing} is known of this user"
        return replace(user, notes=(*notes, f"{why}: by popularity")), BY_POPULARITY
    own: Float32Array | None = None
    if len(vectors) and bundle.user_foldin is not None:
        own = _folded(view, vectors) * np.float32(bundle.untrained_weights.foldin)
    elif len(vectors):
        if not mapped.any():
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            notes.append("this model has no fold-in: by likeness to what is liked")
            mean = (vectors / lengths).mean(axis=0, dtype=np.float32)
            return replace(user, vector=mean, cosine=True, notes=tuple(notes)), BY_LIKES
        notes.append("this model has no fold-in: by the user's features, likes ignored")
    vector = _blend(mapped, own, bundle.user_features, len(vectors))
    basis = BY_FEATURES if own is None else BY_LIKES
    return replace(user, vector=vector, notes=tuple(notes)), basis


def _folded(view: BundleView, vectors: Float32Array) -> Float32Array:
    """The vector folded in from vectors of what is liked: float32 (d,)."""
    assert view.bundle.user_foldin is not None
    return view.bundle.user_foldin.user(vectors, np.arange(len(vectors)))


def _liked_vectors(
    view: BundleView, items: IntArray, tags: IntArray, notes: list[str]
) -> Float32Array:
    """Vectors of items and tags liked, those left out that have none: float32 (n, d)."""
    vectors = view.vectors[items]
    side = view.bundle.item_features
    if side is not None and len(tags):
        one = np.ones(1, np.float32)
        of_tags = [side.mapping.vector(np.array([tag]), one)[0] for tag in tags]
        vectors = np.vstack([vectors, *of_tags])
    with_direction = vectors.any(axis=1)
    if not with_direction.all():
        count = int((~with_direction).sum())
        notes.append(f"{count:,} of what is liked has no likes or known features: it says nothing")
    return vectors[with_direction]


def _mapped(
    side: SideInformation | None, features: IntArray, weights: Float32Array
) -> tuple[Float32Array, float]:
    """Vector and bias of features; zeros of any length for none."""
    if side is None or not len(features):
        return np.zeros(1, np.float32), 0.0
    return side.mapping.vector(features, weights)


def _blend(
    mapped: Float32Array, own: Float32Array | None, side: SideInformation | None, likes: int
) -> Float32Array:
    """What features say and what likes say, by the number of likes; one of them may be missing."""
    if own is None:
        return mapped
    if side is None or not mapped.any():
        return own
    return own + feature_share(side, np.array([likes]))[0] * (mapped - own)


def _features(
    side: SideInformation | None,
    lookup: FeatureLookup | None,
    features: Sequence[Feature],
    notes: list[str],
    kind: str,
) -> tuple[Int32Array, Float32Array]:
    """Known features and their weights; of the others, a note."""
    nothing = np.empty(0, np.int32), np.empty(0, np.float32)
    if not len(features):
        return nothing
    if side is None or lookup is None:
        ignored = listed("feature", len(features))
        notes.append(f"this model knows no {kind} features: {ignored} ignored")
        return nothing
    known, unknown = lookup.known(features)
    if unknown:
        notes.append(lookup.note(unknown))
    return known, side.profiles.weigh(known)


def _require_list(name: str, given: object) -> None:
    if isinstance(given, str):
        raise InputError(f"{name} = {given!r}", "a list", "put it into square brackets")
