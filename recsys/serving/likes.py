"""Likes over the wire: posts into the likes log, and what is stored of a user.

`POST /likes` takes `{"likes": [{"user", "item", "time", "weight", "id"}, ...]}`, or one such object
alone; of these only `user` and `item` are needed. `DELETE /likes` and `POST /hidden` take
`{"user", "item"}`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.base.errors import InputError
from recsys.data.likes_log import Like, LikesLog
from recsys.recommend.queries.cold_start import require_remembered
from recsys.recommend.recommender import Recommender
from recsys.serving.questions import Text
from recsys.serving.wire import Written

MOST_LIKES = 1000  # in one request
# Whoever sends an empty id has lost one.
Id = Annotated[Text, Field(min_length=1, pattern=r"\S")]
_M = TypeVar("_M", bound=BaseModel)


class PairPost(BaseModel):
    """A user and an item."""

    model_config = ConfigDict(extra="forbid")

    user: Id
    item: Id


class LikePost(PairPost):
    """A like; the same `id` a second time changes nothing. `time` is in seconds since 1970."""

    time: Annotated[float, Field(strict=True, ge=-1e12, le=1e12)] | None = None
    weight: Annotated[float, Field(strict=True, gt=0, lt=1e9)] = 1.0
    id: Text | None = None


class LikePosts(BaseModel):
    """Likes, all of which are written or none."""

    model_config = ConfigDict(extra="forbid")

    likes: Annotated[list[LikePost], Field(max_length=MOST_LIKES)]


def add_likes(log: LikesLog, body: bytes) -> dict[str, Any]:
    """Write the likes of a body, one or many.

    Raises
    ------
    InputError
        If it is malformed.
    """
    posts = _read(LikePosts, body).likes if _has_list(body) else [_read(LikePost, body)]
    likes = [Like(post.user, post.item, post.time, post.weight, post.id) for post in posts]
    return Written(received=len(likes), added=log.add(likes)).model_dump()


def remove_like(log: LikesLog, body: bytes) -> dict[str, Any]:
    """Write that a user no longer likes an item."""
    post = _read(PairPost, body)
    log.remove(post.user, post.item)
    return Written().model_dump()


def hide_item(log: LikesLog, body: bytes) -> dict[str, Any]:
    """Write that a user is not interested in an item."""
    post = _read(PairPost, body)
    log.hide(post.user, post.item)
    return Written().model_dump()


def stored_likes(recommender: Recommender, user: str) -> dict[str, Any]:
    """What is stored of a user: the model's likes, and what was said since.

    Raises
    ------
    NotFoundError
        If nothing is.
    """
    log = recommender.fresh
    entries = log.entries(user) if isinstance(log, LikesLog) else []
    trained: list[str] = []
    require_remembered(recommender.view, user)
    if user in recommender.users or not entries:
        index = recommender.users.index(user)
        trained = recommender.items.take(recommender.seen.of(index))
    said = [
        {name: value for name, value in entry.as_dict().items() if name != "user"}
        for entry in entries
    ]
    return {"user": user, "model": trained, "log": said}


def _has_list(body: bytes) -> bool:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "likes" in found


def _read(model: type[_M], body: bytes) -> _M:
    try:
        return model.model_validate_json(body)
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        expected = '{"user": "ann", "item": "a"}, or {"likes": [...]} of such'
        raise InputError(f"{place}: {first['msg'].lower()}", expected, "correct it") from fault
