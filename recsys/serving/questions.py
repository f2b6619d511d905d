"""Questions as records: every query as one model, for programs that ask over a wire.

A record has `query`, which says what else it may have; see the classes below. Names that belong to
another query are ignored, for rows of one table have the same columns; names that belong to none
are refused. Whatever is None, NaN or absent has its default. All of it is bounded: rows of an
answer, questions at once and the rows of all their answers, lengths of lists and of texts.

Why pydantic, and what it costs: docs/experiments/reading-questions.md.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from recsys.base.errors import InputError
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.explanation import Explanation
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender

MOST = 1000  # rows of an answer
MOST_QUESTIONS = 1000  # at once
MOST_ROWS = 50_000  # of the answers to all of them
BLOCK = 128  # users answered together; between blocks the time that is left is checked
LONGEST_LIST, LONGEST_TEXT = 1000, 1000
LONGEST_ALLOW_LIST = 100_000  # ids of `only`; larger ones are given to the server as a file
FLAGS = ("include_seen", "include_untrained")


def _as_whole(value: object) -> object:
    """A table with gaps makes floats of whole numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_text(value: object) -> object:
    """Whole numbers are ids as well, as they are written."""
    if type(value) is not int:
        return value
    if abs(value) >= 2**64:
        raise PydanticCustomError("beyond_64_bits", "a number beyond 64 bits")
    return str(value)


Text = Annotated[
    str,
    StringConstraints(strict=True, max_length=LONGEST_TEXT),
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": LONGEST_TEXT}, {"type": "integer"}]}),
]
"""A name or an id."""
Texts = Annotated[tuple[Text, ...], Field(max_length=LONGEST_LIST)]
ManyTexts = Annotated[tuple[Text, ...], Field(max_length=LONGEST_ALLOW_LIST)]
Weight = Annotated[float, Field(strict=True, gt=-1e6, lt=1e6)]
Weights = Annotated[tuple[Weight, ...], Field(max_length=LONGEST_LIST)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST), BeforeValidator(_as_whole)]


class Question(BaseModel):
    """What every question may have.

    Parameters
    ----------
    n : int
        Rows of the answer, at most.
    must, must_not, exclude, only, lists, include_seen, include_untrained
        See `recsys.recommend.queries.filters.Filters`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    query: str
    n: Count = 10
    must: Texts = ()
    must_not: Texts = ()
    exclude: Texts = ()
    only: ManyTexts | None = None
    lists: Texts = ()
    # MLflow's server makes false of a null: false has to mean what null does, the default.
    include_seen: Flag = False
    include_untrained: Flag = False

    @cached_property
    def filters(self) -> Filters:
        """What the answer may consist of."""
        return Filters(
            self.must,
            self.must_not,
            self.exclude,
            only=self.only,
            lists=self.lists,
            include_seen=self.include_seen,
            include_untrained=True if self.include_untrained else None,
        )

    @abstractmethod
    def answer(self, recommender: Recommender) -> Answer:
        """The answer of a model."""


class Recommend(Question):
    """Items for a user, and what they like besides; or for a new user from what is known of them.

    A new user is described by liked items, liked tags and features of their own.
    """

    query: Literal["recommend"]
    id: Text | None = None
    liked: Texts = ()
    tags: Texts = ()
    features: Texts = ()

    @model_validator(mode="after")
    def _known_or_new(self) -> Self:
        if self.id is not None and self.features:
            raise InputError(
                f"user {self.id!r} with features",
                "a known user, whose features are known, or those of a new one",
                "give one of them",
            )
        return self

    def answer(self, recommender: Recommender) -> Answer:
        """The items."""
        if self.id is not None:
            return recommender.recommend(
                self.id, self.n, self.filters, liked=self.liked, tags=self.tags
            )
        return recommender.recommend_for(
            self.liked, self.n, self.filters, tags=self.tags, features=self.features
        )


class Rank(Question):
    """Some items, put into order for a user, known or new."""

    query: Literal["rank"]
    items: Texts
    id: Text | None = None
    liked: Texts = ()
    tags: Texts = ()

    def answer(self, recommender: Recommender) -> Answer:
        """The items, all that are known."""
        return recommender.rank(self.id, self.items, liked=self.liked, tags=self.tags)


class _AboutItem(Question):
    """A question about an item of the catalogue; a new one by its tags and who likes it."""

    id: Text | None = None
    tags: Texts = ()
    liked_by: Texts = ()

    @property
    def _new(self) -> dict[str, Any]:
        return {"features": self.tags, "liked_by": self.liked_by}


class Similar(_AboutItem):
    """Items like an item."""

    query: Literal["similar"]

    def answer(self, recommender: Recommender) -> Answer:
        """The items."""
        return recommender.similar_items(self.id, self.n, self.filters, **self._new)


class Tag(Question):
    """Items for tags, with weights if wanted."""

    query: Literal["tag"]
    tags: Texts = ()
    weights: Weights = ()

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if self.weights and len(self.weights) != len(self.tags):
            found = f"{len(self.weights)} weights for {len(self.tags)} tags"
            raise InputError(found, "a weight for each tag, or none", "give as many")
        return self

    def answer(self, recommender: Recommender) -> Answer:
        """The items."""
        weights = self.weights or (1.0,) * len(self.tags)
        tags = dict(zip(self.tags, weights, strict=True))
        return recommender.items_for_tag(tags, self.n, self.filters)


class SuggestTags(_AboutItem):
    """Tags that an item could have, of one type if wanted."""

    query: Literal["suggest-tags"]
    type: Text | None = None

    def answer(self, recommender: Recommender) -> Answer:
        """The tags."""
        return recommender.suggest_tags(
            self.id, self.n, kind=self.type, exclude=self.exclude, **self._new
        )


class SimilarTags(Question):
    """Tags like a tag, of one type if wanted."""

    query: Literal["similar-tags"]
    id: Text
    type: Text | None = None

    def answer(self, recommender: Recommender) -> Answer:
        """The tags."""
        return recommender.similar_tags(self.id, self.n, kind=self.type, exclude=self.exclude)


class Audience(_AboutItem):
    """Users who are likely to like an item."""

    query: Literal["audience"]

    def answer(self, recommender: Recommender) -> Answer:
        """The users."""
        return recommender.audience(self.id, self.n, self.filters, **self._new)


class Explain(Question):
    """Why a user has a score for an item."""

    query: Literal["explain"]
    id: Text
    item: Text

    def answer(self, recommender: Recommender) -> Answer:
        """The parts of the score, then the nearest liked items."""
        return as_answer(recommender.explain(self.id, self.item, self.n))


AnyQuestion = Annotated[
    Recommend | Rank | Similar | Tag | SuggestTags | SimilarTags | Audience | Explain,
    Field(discriminator="query"),
]
_ADAPTER: TypeAdapter[Question] = TypeAdapter(AnyQuestion)
_MODELS: tuple[type[Question], ...] = get_args(get_args(AnyQuestion)[0])
QUERIES: dict[str, type[Question]] = {
    get_args(model.model_fields["query"].annotation)[0]: model for model in _MODELS
}
NAMES = frozenset(name for model in _MODELS for name in model.model_fields)
_LISTS = frozenset(
    {"liked", "liked_by", "tags", "features", "items"}
    | {"must", "must_not", "exclude", "only", "lists"}
)


class Questions(BaseModel):
    """The body of a request: questions, answered in this order."""

    model_config = ConfigDict(extra="forbid")

    questions: Annotated[list[AnyQuestion], Field(max_length=MOST_QUESTIONS)]


def read_question(record: Mapping[str, Any]) -> Question:
    """A question from plain values; None and NaN are as good as absent.

    Raises
    ------
    InputError
        If there is no such query, a name is unknown or missing, a value is of the wrong kind or too
        long, or n is out of range.
    """
    given = {name: _plain(value) for name, value in record.items() if not _absent(value)}
    if unknown := given.keys() - NAMES:
        found = f"a question with {min(map(str, unknown))!r}"
        raise InputError(found, f"some of {', '.join(sorted(NAMES))}", "rename it")
    try:
        return _ADAPTER.validate_python(given)
    except ValidationError as fault:
        raise _as_input_error(given, fault.errors(include_url=False)[0]) from fault


def _as_input_error(given: Mapping[str, Any], error: ErrorDetails) -> InputError:
    """pydantic's error in one line: what was found, what was expected, what to do."""
    if len(error["loc"]) < 2:
        query = given.get("query", "")
        return InputError(f"query {query!r}", f"one of {', '.join(QUERIES)}", "ask one of them")
    name, value, kind = str(error["loc"][1]), error["input"], error["type"]
    if kind == "missing":
        article = name if name == "items" else f"an {name}"
        return InputError(f"query {given['query']!r} without {article}", article, "give one")
    if kind == "too_long":
        found = f"{len(given[name]):,} entries of {name}"
        most = LONGEST_ALLOW_LIST if name == "only" else LONGEST_LIST
        return InputError(found, f"at most {most:,}", "give fewer")
    if name == "n":
        expected = f"a whole number from 1 to {MOST}"
        return InputError(f"n = {value!r}", expected, "ask for fewer")
    if name in FLAGS:
        return InputError(f"{name} = {value!r}", "true or false", "give one of them")
    if len(error["loc"]) == 2 and (name in _LISTS or name == "weights"):
        return InputError(f"{name} = {value!r}", "a list", "put it into square brackets")
    if name == "weights":
        expected = "a number between -1e6 and 1e6"
        return InputError(f"a weight {value!r}", expected, "change it")
    return _text_error(name, value, kind)


def _text_error(name: str, value: Any, kind: str) -> InputError:
    if kind == "string_too_long":
        found = f"{name} of {len(value):,} characters"
        return InputError(found, f"at most {LONGEST_TEXT:,}", "check what is sent")
    if kind == "string_unicode":  # half of a pair, which JSON can write and UTF-8 cannot
        return InputError(f"{name} = {value!r}", "text that is Unicode", "change it")
    if kind == "beyond_64_bits":
        return InputError(f"a number of {name} beyond 64 bits", "text", "put it into quotes")
    return InputError(f"{name} = {value!r}", "text", "put it into quotes")


def _absent(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def _plain(value: Any) -> Any:
    """NumPy's arrays and scalars, which tables have, as Python's own."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value] if any(map(_foreign, value)) else value
    return value.tolist() if _foreign(value) else value


def _foreign(value: Any) -> bool:
    return type(value).__module__ == "numpy"


Attribution = Callable[[int], AbstractContextManager[None]]
"""Gives a context for the question at a position, in which an error is reported as that one's."""


def read_questions(
    records: Sequence[Mapping[str, Any]], attribution: Attribution
) -> list[Question]:
    """Questions of records, not more than can be answered in reasonable time.

    Raises
    ------
    InputError
        As `read_question`; if there are too many, or they ask for too many rows.
    """
    if len(records) > MOST_QUESTIONS:
        raise InputError(
            f"{len(records):,} questions", f"at most {MOST_QUESTIONS:,} at once", "ask in parts"
        )
    questions: list[Question] = []
    for position, record in enumerate(records):
        with attribution(position):
            questions.append(read_question(record))
    asked = sum(question.n for question in questions)
    if asked > MOST_ROWS:
        raise InputError(
            f"{asked:,} rows asked for", f"at most {MOST_ROWS:,} at once", "ask in parts"
        )
    return questions


def answer_all(
    recommender: Recommender,
    questions: Sequence[Question],
    attribution: Attribution,
) -> list[Answer]:
    """Answer in order; users whose questions differ in the user alone are answered in one block.

    Parameters
    ----------
    recommender : Recommender
    questions : sequence of Question
    attribution : callable
        See `Attribution`; entered once more before each question is answered.
    """
    answers: dict[int, Answer] = {}
    for block in _blocks(questions):
        for position, one in block.items():
            with attribution(position):
                recommender.require_user(one.id)
        first, asked = next(iter(block.items()))
        with attribution(first):
            users = [question.id for question in block.values()]
            found = recommender.recommend_many(users, asked.n, asked.filters)
        answers |= dict(zip(block, found, strict=True))
    for position, question in enumerate(questions):
        if position not in answers:
            with attribution(position):
                answers[position] = question.answer(recommender)
    return [answers[position] for position in range(len(questions))]


def record_shown(
    recommender: Recommender, questions: Sequence[Question], answers: Sequence[Answer]
) -> None:
    """Record what known users are shown, where house rules hide it later."""
    log, rules = recommender.answers, recommender.rules
    if log is None or rules is None or rules.current().hide_shown is None:
        return
    shown = [
        (asked.id, [row.id for row in answer])
        for asked, answer in zip(questions, answers, strict=True)
        if isinstance(asked, Recommend) and asked.id is not None
    ]
    if shown:
        log.record(shown)


def _blocks(questions: Sequence[Question]) -> list[dict[int, Recommend]]:
    """Questions for known users and nothing else that differ in the user alone, by position."""
    if len(questions) < 2:
        return []
    found: dict[tuple[int, Filters], list[tuple[int, Recommend]]] = {}
    for position, question in enumerate(questions):
        if isinstance(question, Recommend) and question.id is not None:
            if question.liked or question.tags:
                continue
            found.setdefault((question.n, question.filters), []).append((position, question))
    return [
        dict(same[start : start + BLOCK])
        for same in found.values()
        if len(same) > 1
        for start in range(0, len(same), BLOCK)
    ]


def as_answer(explanation: Explanation) -> Answer:
    """An explanation as rows: the parts, whose scores add up, then the nearest liked items."""
    parts = tuple(
        Ranked(part.id, part.name, part.value, f"part: {part.kind}") for part in explanation.parts
    )
    return Answer(
        (*parts, *explanation.nearest), (f"score {explanation.score:.6g}", *explanation.notes)
    )
