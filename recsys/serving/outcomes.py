"""Outcomes over the wire: what became of recommendations, posted into the online log.

`POST /outcomes` takes `{"outcomes": [{"recommendation", "item", "outcome", "time"}, ...]}`, or one
such object alone; only `time` may be left out.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.base.errors import InputError
from recsys.online.online_log import OnlineLog, Outcome, PostedOutcome
from recsys.serving.questions import Text
from recsys.serving.wire import Noted

MOST_OUTCOMES = 1000  # in one request


class OutcomePost(BaseModel):
    """What became of an item of an answer; `time` is in seconds since 1970."""

    model_config = ConfigDict(extra="forbid")

    recommendation: Annotated[str, Field(strict=True, min_length=1, max_length=100)]
    item: Text
    outcome: Outcome
    time: Annotated[float, Field(strict=True, ge=-1e12, le=1e12)] | None = None


class OutcomePosts(BaseModel):
    """Outcomes, all of which are written or none."""

    model_config = ConfigDict(extra="forbid")

    outcomes: Annotated[list[OutcomePost], Field(max_length=MOST_OUTCOMES)]


def add_outcomes(log: OnlineLog, body: bytes) -> tuple[Noted, Counter[str]]:
    """Write the outcomes of a body, one or many; and how many of each kind there were.

    Raises
    ------
    InputError
        If it is malformed.
    """
    try:
        given = json.loads(body)
        several = isinstance(given, dict) and "outcomes" in given
        posts = (
            OutcomePosts.model_validate_json(body).outcomes
            if several
            else [OutcomePost.model_validate_json(body)]
        )
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise _malformed(f"{place}: {first['msg'].lower()}") from fault
    except (ValueError, RecursionError) as fault:
        raise _malformed(f"a body that is not JSON ({str(fault)[:100]})") from fault
    posted = [PostedOutcome(one.recommendation, one.item, one.outcome, one.time) for one in posts]
    added, unknown = log.post(posted)
    noted = Noted(received=len(posted), added=added, unknown=unknown)
    return noted, Counter(one.outcome for one in posted)


def _malformed(found: str) -> InputError:
    expected = '{"recommendation": "…", "item": "a", "outcome": "clicked"}, or {"outcomes": [...]}'
    return InputError(found, f"{expected} of such", "correct it")
