"""Questions as records: every query in one form, for programs that ask over a wire.

A record has `query` and what it needs:

- recommend: `id` of a user; or, for somebody new, `liked` items, `tags` liked, own `features`
- similar, suggest-tags, audience: `id` of an item; or, for a new one, `tags` and `liked_by` users
- tag: `tags` and, if wanted, `weights`
- similar-tags: `id` of a tag
- explain: `id` of a user, and `item`

besides `n`, the filters `must`, `must_not`, `exclude`, `include_seen`, `include_untrained`, and
`type` for answers that are tags. All of it is bounded: rows of an answer, questions at once and
the rows of all their answers, lengths of lists and of texts.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from recsys.base.errors import InputError
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.explanation import Explanation
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender

MOST = 1000  # rows of an answer
MOST_QUESTIONS = 1000  # at once
MOST_ROWS = 50_000  # of the answers to all of them
BLOCK = 128  # users answered together; between blocks, whoever asked may have had enough
LONGEST_LIST, LONGEST_TEXT = 1000, 1000
LISTS = ("liked", "liked_by", "tags", "weights", "features", "must", "must_not", "exclude")
FLAGS = ("include_seen", "include_untrained")
TEXTS = ("id", "item", "type")
NAMES = {"query", "n", *LISTS, *FLAGS, *TEXTS}


@dataclass(frozen=True)
class Question:
    """One record, checked; see the module for what belongs to which query."""

    query: str
    id: str | None = None
    item: str | None = None
    liked: tuple[str, ...] = ()
    liked_by: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    features: tuple[str, ...] = ()
    type: str | None = None
    n: int = 10
    filters: Filters = field(default_factory=Filters)

    @staticmethod
    def of(record: Mapping[str, Any]) -> Question:
        """A question from plain values; None and NaN are as good as absent.

        Raises
        ------
        InputError
            If there is no such query, a name is unknown, a value is of the wrong kind or too long,
            or n is out of range.
        """
        given = {name: value for name, value in record.items() if not _absent(value)}
        if unknown := set(given) - NAMES:
            found = f"a question with {min(map(str, unknown))!r}"
            raise InputError(found, f"some of {', '.join(sorted(NAMES))}", "rename it")
        query = given.get("query", "")
        if not isinstance(query, str) or query not in QUERIES:
            raise InputError(f"query {query!r}", f"one of {', '.join(QUERIES)}", "ask one of them")
        lists: dict[str, Any] = {name: _as_tuple(name, given.get(name, ())) for name in LISTS}
        if lists["weights"] and len(lists["weights"]) != len(lists["tags"]):
            found = f"{len(lists['weights'])} weights for {len(lists['tags'])} tags"
            raise InputError(found, "a weight for each tag, or none", "give as many")
        chosen: dict[str, Any] = {name: lists.pop(name) for name in ("must", "must_not", "exclude")}
        # MLflow's server makes false of a null: false has to mean what null does, the default.
        chosen |= {name: True for name in FLAGS if _as_flag(name, given.get(name, False))}
        lists |= {name: _as_text(name, given[name]) for name in TEXTS if name in given}
        return Question(query, **lists, n=_as_count(given.get("n", 10)), filters=Filters(**chosen))

    @property
    def needed(self) -> str:
        """The id, where there has to be one."""
        if self.id is None:
            raise InputError(f"query {self.query!r} without an id", "an id", "give one")
        return self.id


Saying = Callable[[int], AbstractContextManager[None]]
"""Makes a context for the question at a position, in which a fault is said to be that one's."""


def read_questions(records: Sequence[Mapping[str, Any]], saying: Saying) -> list[Question]:
    """Questions of records, not more than can be answered in reasonable time.

    Raises
    ------
    InputError
        As `Question.of`; if there are too many, or they ask for too many rows.
    """
    if len(records) > MOST_QUESTIONS:
        raise InputError(
            f"{len(records):,} questions", f"at most {MOST_QUESTIONS:,} at once", "ask in parts"
        )
    questions: list[Question] = []
    for position, record in enumerate(records):
        with saying(position):
            questions.append(Question.of(record))
    asked = sum(question.n for question in questions)
    if asked > MOST_ROWS:
        raise InputError(
            f"{asked:,} rows asked for", f"at most {MOST_ROWS:,} at once", "ask in parts"
        )
    return questions


def answer_all(
    recommender: Recommender,
    questions: Sequence[Question],
    saying: Saying,
) -> list[Answer]:
    """Answer in order; users asked for alike are answered in one block.

    Parameters
    ----------
    recommender : Recommender
    questions : sequence of Question
    saying : callable
        See `Saying`; entered once more before each question is answered.
    """
    answers: dict[int, Answer] = {}
    for positions in _blocks(questions):
        first = questions[positions[0]]
        users = []
        for position in positions:
            with saying(position):
                users.append(questions[position].needed)
                recommender.users.index(users[-1])
        with saying(positions[0]):
            found = recommender.recommend_many(users, first.n, first.filters)
        answers |= dict(zip(positions, found, strict=True))
    for position, question in enumerate(questions):
        if position not in answers:
            with saying(position):
                answers[position] = QUERIES[question.query](recommender, question)
    return [answers[position] for position in range(len(questions))]


def _blocks(questions: Sequence[Question]) -> list[list[int]]:
    """Questions for known users that differ in the user alone."""
    alike: dict[tuple[int, Filters], list[int]] = {}
    for position, question in enumerate(questions):
        # One that is wrong is answered, and refused, by itself: it has to be named.
        known = question.query == "recommend" and question.id is not None
        if known and not (question.liked or question.tags or question.features):
            alike.setdefault((question.n, question.filters), []).append(position)
    return [
        positions[start : start + BLOCK]
        for positions in alike.values()
        if len(positions) > 1
        for start in range(0, len(positions), BLOCK)
    ]


def _recommend(recommender: Recommender, question: Question) -> Answer:
    if question.id is not None:
        _require_nothing_new(question)
        return recommender.recommend(question.id, question.n, question.filters)
    return recommender.recommend_for(
        question.liked,
        question.n,
        question.filters,
        tags=question.tags,
        features=question.features,
    )


def _require_nothing_new(question: Question) -> None:
    if question.liked or question.tags or question.features:
        raise InputError(
            f"user {question.id!r} with likes, tags or features",
            "a known user, or what is known of a new one",
            "give one of them",
        )


def _new(question: Question) -> dict[str, Any]:
    return {"features": question.tags, "liked_by": question.liked_by}


def _similar(recommender: Recommender, question: Question) -> Answer:
    return recommender.similar_items(question.id, question.n, question.filters, **_new(question))


def _tag(recommender: Recommender, question: Question) -> Answer:
    weights = question.weights or (1.0,) * len(question.tags)
    tags = dict(zip(question.tags, weights, strict=True))
    return recommender.items_for_tag(tags, question.n, question.filters)


def _suggest_tags(recommender: Recommender, question: Question) -> Answer:
    return recommender.suggest_tags(
        question.id,
        question.n,
        kind=question.type,
        exclude=[str(name) for name in question.filters.exclude],
        **_new(question),
    )


def _similar_tags(recommender: Recommender, question: Question) -> Answer:
    exclude = [str(name) for name in question.filters.exclude]
    return recommender.similar_tags(
        question.needed, question.n, kind=question.type, exclude=exclude
    )


def _audience(recommender: Recommender, question: Question) -> Answer:
    return recommender.audience(question.id, question.n, question.filters, **_new(question))


def _explain(recommender: Recommender, question: Question) -> Answer:
    if question.item is None:
        raise InputError("query 'explain' without an item", "a user and an item", "give both")
    return as_answer(recommender.explain(question.needed, question.item, question.n))


def as_answer(explanation: Explanation) -> Answer:
    """An explanation as rows: the parts, whose scores add up, then the nearest liked items."""
    parts = tuple(
        Ranked(part.id, part.name, part.value, f"part: {part.kind}") for part in explanation.parts
    )
    return Answer((*parts, *explanation.nearest), (f"score {explanation.score:.6g}",))


QUERIES: dict[str, Callable[[Recommender, Question], Answer]] = {
    "recommend": _recommend,
    "similar": _similar,
    "tag": _tag,
    "suggest-tags": _suggest_tags,
    "similar-tags": _similar_tags,
    "audience": _audience,
    "explain": _explain,
}


def _absent(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def _as_tuple(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | Mapping) or not hasattr(value, "__iter__"):
        raise InputError(f"{name} = {value!r}", "a list", "put it into square brackets")
    parts = list(value)
    if len(parts) > LONGEST_LIST:
        raise InputError(
            f"{len(parts):,} entries of {name}", f"at most {LONGEST_LIST:,}", "give fewer"
        )
    return tuple(_as_weight(part) if name == "weights" else _as_text(name, part) for part in parts)


def _as_text(name: str, value: Any) -> str:
    """A name or an id; whole numbers are ids as well, as they are written."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole and not isinstance(value, str):
        raise InputError(f"{name} = {value!r}", "text", "put it into quotes")
    if whole and abs(int(value)) >= 2**64:
        raise InputError(f"a number of {name} beyond 64 bits", "text", "put it into quotes")
    text = str(value)
    if len(text) > LONGEST_TEXT:
        found = f"{name} of {len(text):,} characters"
        raise InputError(found, f"at most {LONGEST_TEXT:,}", "check what is sent")
    try:
        text.encode()
    except UnicodeEncodeError as fault:  # half of a pair, which JSON can write and UTF-8 cannot
        raise InputError(f"{name} = {value!r}", "text that is Unicode", "mend it") from fault
    return text


def _as_weight(value: Any) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not abs(value) < 1e6:
        raise InputError(f"a weight {value!r}", "a number between -1e6 and 1e6", "mend it")
    return float(value)


def _as_flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name} = {value!r}", "true or false", "give one of them")
    return bool(value)


def _as_count(value: Any) -> int:
    # A table with gaps makes floats of whole numbers.
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not whole or not 1 <= value <= MOST or value != int(value):
        raise InputError(f"n = {value!r}", f"a whole number from 1 to {MOST}", "ask for fewer")
    return int(value)
