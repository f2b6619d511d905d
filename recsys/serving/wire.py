"""Wire: the bodies of responses of the server as pydantic models, and of its errors."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Code = Literal[
    "wrong", "not_found", "no_such_address", "wrong_method", "too_slow", "too_large", "wrong_type",
    "unavailable", "fault",
]  # fmt: skip
"""What kind of refusal it is, for programs."""
CODES: dict[int, Code] = {
    400: "wrong",
    404: "not_found",
    405: "wrong_method",
    408: "too_slow",
    413: "too_large",
    415: "wrong_type",
    500: "fault",
    503: "unavailable",
}
"""The code of a status."""


class AnswerRow(BaseModel):
    """One row of an answer.

    While answers are recorded, a row of a recommendation has its rank as well, from 1, and where
    lists of two versions are interleaved, the version that it counts for.
    """

    id: str
    name: str
    score: float
    reason: str
    rank: int | None = None
    version: str | None = None


class OneAnswer(BaseModel):
    """Rows, best first, and sentences that belong to them.

    While answers are recorded, a recommendation has an id, by which outcomes name it, and the
    version that answers, unless each row has its own.
    """

    rows: list[AnswerRow]
    notes: list[str]
    recommendation: str | None = None
    version: str | None = None


class Answers(BaseModel):
    """The body of a response: which champion answered, and an answer for each question."""

    model: str
    version: str
    answers: list[OneAnswer]


class Written(BaseModel):
    """How many likes came in, and how many of them were new."""

    received: int = 1
    added: int = 1


class Noted(BaseModel):
    """How many outcomes came in, how many were new, and how many belong to no answer."""

    received: int = 1
    added: int = 1
    unknown: int = 0


class SaidOfItem(BaseModel):
    """What a user said last of an item; `time` is in seconds since 1970."""

    item: str
    state: Literal["liked", "removed", "hidden"]
    time: float
    weight: float


class StoredLikes(BaseModel):
    """What is stored of a user: the items that the model knows of, and what was said since."""

    user: str
    model: list[str]
    log: list[SaidOfItem]


class About(BaseModel):
    """Which champion answers: its version, the digest of its bundle, and the package's version."""

    model: str
    version: str
    bundle: str
    package: str


class Health(BaseModel):
    """That the server lives."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """That the server can answer now, and with which version."""

    status: Literal["ready"] = "ready"
    version: str


class Fault(BaseModel):
    """What was found, what was expected, and what to do."""

    found: str
    expected: str
    action: str


class Refusal(BaseModel):
    """The body of a response to a wrong request; `question` is the position of the wrong one."""

    code: Code
    error: Fault
    question: int | None = None
