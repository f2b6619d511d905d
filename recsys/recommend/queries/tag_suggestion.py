"""Tag suggestion: tags that an item could have and has not, as the items most like it have them.

The votes of neighbours, and what goes with the tags the item has: together they find hidden tags as
often as the better of the two, or more often; the tags whose vectors are nearest to the item's far
less often (`recsys.evaluation.tag_suggestion`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.models.content import (
    item_similarities,
    nearest_items,
    neighbour_votes,
    with_cooccurrence,
)
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.feature_lookup import Feature
from recsys.recommend.queries.scoring import inverse_lengths, products
from recsys.recommend.queries.subjects import QueryItem
from recsys.recommend.queries.tag_similarity import ranked_tags, tag_rows, vocabulary
from recsys.recommend.queries.view import BundleView
from recsys.recommend.queries.wording import listed


def suggest_tags(
    view: BundleView, query_item: QueryItem, n: int, kind: str | None, exclude: Sequence[Feature]
) -> Answer:
    """The n features that suit an item best, of those it has not.

    Raises
    ------
    NotFoundError
        If there is no such type.
    InputError
        If the model has no features.
    """
    side, lookup = vocabulary(view)
    cosines = None
    if query_item.vector.any():
        cosines = products(view.vectors, query_item.vector)
        cosines *= view.inverse_lengths * inverse_lengths(query_item.vector[None])[0]
    similarities = item_similarities(side.profiles, query_item.features, cosines)
    if query_item.index is not None:
        similarities[query_item.index] = 0
    counted, voters = neighbour_votes(side.profiles, nearest_items(similarities), similarities)
    scores = with_cooccurrence(side.profiles, counted, query_item.features, query_item.index)
    scores[scores <= 0] = -np.inf
    chosen = ranked_tags(lookup, scores, n, kind, exclude)
    reasons = [
        f"on {listed('item', int(voters[feature]))} like it"
        if voters[feature]
        else "goes with the tags it has"
        for feature in chosen
    ]
    return Answer(tag_rows(lookup, chosen, scores[chosen], reasons), query_item.notes)
