"""Fresh users: those who said something since the model was trained, as queries see them."""

from __future__ import annotations

from collections.abc import Mapping

from recsys.recommend.queries.cold_start import known_user
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView


def fresh_users(view: BundleView) -> Mapping[str, QueryUser]:
    """Everybody of whom the likes log knows more than the model, by id, the forgotten left out.

    Somebody whom the model does not know is among them if they like something. Who said nothing
    more since the last call is taken from there.
    """
    if view.fresh is None:
        return {}
    mark = view.fresh.mark()
    if view.fresh_cache.get("mark") != mark:
        before = view.fresh_cache.get("found", {})
        found = {}
        for user, said in view.fresh.by_user(view.known_position).items():
            if user in view.bundle.users or said.liked:
                known = before.get(user)
                if known is None or known[0] != said:
                    known = said, known_user(view, user, said=said)
                found[user] = known
        view.fresh_cache.update(mark=mark, found=found)
    return {user: known for user, (_, known) in view.fresh_cache["found"].items()}
