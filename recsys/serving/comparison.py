"""Comparison: recommendations of two versions given to users at once, and recorded.

Only questions about what a known user is to be shown (`recommend` and `rank` with an `id`) belong
to a comparison; all others are answered by the champion. A user whom the champion does not know is
in no comparison either, or the two versions would be compared on different users. Where the
challenger cannot answer, the champion does, and the answer still counts as the challenger's.

Comparing never costs an answer: without a challenger, or with a log that cannot be written, the
server answers as if there were no comparison, and says so in its log.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from recsys.base.config import Online
from recsys.base.errors import RecsysError, StorageError
from recsys.online.arms import Comparison, Side, gets_challenger
from recsys.online.interleaving import team_draft
from recsys.online.online_log import GivenAnswer, OnlineLog
from recsys.recommend.queries.answers import Answer
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.questions import Attribution, Question, Rank, Recommend, answer_all
from recsys.serving.recommended import Recommended
from recsys.serving.seldom import SeldomWarnings

_log = logging.getLogger(__name__)
_AGAIN = 30.0  # seconds after which a challenger that is not there is looked for again
_SHADOWS = 256  # that wait at most; a server that is busy computes none
_LIKES = ((20, "20 likes or more"), (5, "5 to 19 likes"), (1, "1 to 4 likes"))


@dataclass(frozen=True)
class _Rival:
    """The challenger that answers now, and the comparison that it is in."""

    comparison: Comparison
    recommender: Recommender


@dataclass
class ComparedAnswers:
    """Answers of a server while two versions are compared; see the module.

    Parameters
    ----------
    options : Online
    model : str
    champion : Champion
        Its settings are those of the challenger, too.
    log : OnlineLog
    noted : callable
        Told the name of each thing that happened, for the metrics.
    """

    options: Online
    model: str
    champion: Champion
    log: OnlineLog
    noted: Callable[[str], None] = lambda _: None
    _missing: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self.challenger = self.champion.beside(self.options.challenger)
        self._unrecorded, self._unrecorded_shadows = SeldomWarnings(_log), SeldomWarnings(_log)
        self._shadows = ThreadPoolExecutor(1, "shadows")
        self._room = threading.Semaphore(_SHADOWS)

    def answer(
        self,
        number: str,
        recommender: Recommender,
        questions: Sequence[Question],
        attribution: Attribution,
    ) -> list[Answer]:
        """Answer questions in order, and record the recommendations among them.

        Parameters
        ----------
        number : str
            The champion's version.
        recommender : Recommender
            The champion.
        questions, attribution
            See `recsys.serving.questions.answer_all`.
        """
        asked = [place for place, one in enumerate(questions) if _is_recommendation(one)]
        rival = self._rival(number) if asked else None
        compared: list[int] = []
        for place in asked if rival else ():
            user = _user(questions[place])
            if user is not None:
                with attribution(place):
                    recommender.require_user(user)
                compared.append(place)
        answering = _Answering(number, recommender, rival, questions, attribution)
        given = answering.all(compared)
        written = self._record(answering, asked, given)
        if rival is not None and rival.comparison.mode == "shadow" and written:
            for place in compared:
                self._shadow(rival, questions[place], given[place])
        return [
            replace(one, recommendation=None)
            if isinstance(one, Recommended) and not written
            else one
            for one in given
        ]

    def _rival(self, number: str) -> _Rival | None:
        """The challenger; None while there is none, or it is the champion itself."""
        options = self.options
        if options.mode == "off" or time.monotonic() - self._missing < _AGAIN:
            return None
        try:
            other, recommender = self.challenger.current_version()
        except RecsysError as fault:
            self._missing = time.monotonic()
            _log.warning("no comparison: %s", fault)
            return None
        if other == number:
            return None
        compared = Comparison(self.model, options.mode, number, other, options.share, options.salt)
        return _Rival(compared, recommender)

    def _record(self, by: _Answering, asked: Sequence[int], given: list[Answer]) -> bool:
        """Write the recommendations into the log; whether that could be done."""
        found: list[GivenAnswer] = []
        for place in asked:
            one = given[place]
            assert isinstance(one, Recommended)
            found.append(by.given_answer(place, one))
        try:
            self.log.give(found)
        except StorageError as fault:
            self.noted("unrecorded")
            self._unrecorded.say("answers are not recorded", fault)
            return False
        for answer in found:
            self.noted(answer.arm if answer.comparison is not None else "none")
        return True

    def _shadow(self, rival: _Rival, question: Question, shown: Answer) -> None:
        """Have the challenger answer in its own time, if not too much waits for it."""
        assert isinstance(shown, Recommended)
        recommendation = shown.recommendation
        assert recommendation is not None
        if not self._room.acquire(blocking=False):
            self.noted("shadow left out")
            return

        def work() -> None:
            begun, items, fault = time.perf_counter(), list[str](), ""
            try:
                items = [row.id for row in question.answer(rival.recommender)]
            except RecsysError as said:
                fault = str(said)
            finally:
                self._room.release()
            seconds = time.perf_counter() - begun
            try:
                self.log.shadow(recommendation, rival.comparison.challenger, seconds, items, fault)
            except StorageError as said:
                self._unrecorded_shadows.say("shadows are not recorded", said)

        self._shadows.submit(work)

    def close(self) -> None:
        """Wait for the shadows that are under way."""
        self._shadows.shutdown(wait=True)


@dataclass
class _Answering:
    """The questions of one request, answered by whoever is to answer each."""

    number: str
    recommender: Recommender
    rival: _Rival | None
    questions: Sequence[Question]
    attribution: Attribution
    _arms: dict[int, str] = field(default_factory=dict)
    _sides: dict[int, list[tuple[str, Side | None]]] = field(default_factory=dict)
    _instead: set[int] = field(default_factory=set)

    def all(self, compared: Sequence[int]) -> list[Answer]:
        """The answers in order; `compared` are the places of questions in the comparison."""
        mode = self.rival.comparison.mode if self.rival else ""
        challenged: set[int] = set()
        for place in compared:
            self._arms[place] = self._arm(place)
            if mode != "shadow" and self._arms[place] != "champion":
                challenged.add(place)
        alone = challenged if mode == "split" else set()
        own = [place for place in range(len(self.questions)) if place not in alone]
        answers = dict(zip(own, self._by_champion(own), strict=True))
        others = self._by_challenger(sorted(challenged))
        for place in sorted(challenged):
            other = others.get(place)
            if other is None:
                self._instead.add(place)
                if place not in answers:
                    [answers[place]] = self._by_champion([place])
            elif mode == "interleave":
                answers[place] = self._interleaved(place, answers[place], other)
            else:
                answers[place] = other
        return [self._recommended(place, answers[place]) for place in range(len(self.questions))]

    def given_answer(self, place: int, answer: Recommended) -> GivenAnswer:
        """What is recorded of an answer."""
        question = self.questions[place]
        comparison = self.rival.comparison if self.rival and place in self._arms else None
        arm = self._arms.get(place, "champion")
        side: Side | None = "challenger" if arm == "challenger" else "champion"
        if arm == "both":  # a list that the champion gave alone counts for neither
            side = None
        items = self._sides.get(place) or [(row.id, side) for row in answer]
        version = answer.version
        if version is None and comparison is not None:
            version = f"{comparison.champion}+{comparison.challenger}"
        assert answer.recommendation is not None
        return GivenAnswer(
            answer.recommendation,
            _user(question),
            version or self.number,
            question.query,
            items,
            comparison,
            arm,
            self._segment(_user(question)) if comparison else "",
            place in self._instead,
        )

    def _arm(self, place: int) -> str:
        assert self.rival is not None
        comparison, user = self.rival.comparison, _user(self.questions[place])
        assert user is not None
        if comparison.mode == "interleave":
            return "both"
        split = comparison.mode == "split" and gets_challenger(comparison, user)
        return "challenger" if split else "champion"

    def _by_champion(self, places: Sequence[int]) -> list[Answer]:
        asked = [self.questions[place] for place in places]
        return answer_all(self.recommender, asked, lambda one: self.attribution(places[one]))

    def _by_challenger(self, places: Sequence[int]) -> dict[int, Answer]:
        """The challenger's answers, of those questions that it can answer."""
        if self.rival is None or not places:
            return {}

        @contextmanager
        def in_time(place: int) -> Iterator[None]:
            with self.attribution(place):
                pass  # its errors are not those of the question
            yield

        asked = [self.questions[place] for place in places]
        try:
            found = answer_all(self.rival.recommender, asked, lambda one: in_time(places[one]))
            return dict(zip(places, found, strict=True))
        except RecsysError as fault:
            if len(places) == 1:
                _log.info("the champion answers instead: %s", fault)
                return {}
        alone: dict[int, Answer] = {}
        for place in places:
            alone |= self._by_challenger([place])
        return alone

    def _interleaved(self, place: int, own: Answer, other: Answer) -> Answer:
        assert self.rival is not None
        comparison, user = self.rival.comparison, _user(self.questions[place])
        assert user is not None
        # The same list the whole day, or it would change while somebody turns its pages.
        day = str(int(time.time() // 86_400))
        drafted = team_draft(
            [row.id for row in own],
            [row.id for row in other],
            max(len(own), len(other)),
            lambda number: comparison.draw("draft", user, day, str(number)) < 0.5,
        )
        rows = {row.id: row for row in own}
        others = {row.id: row for row in other}
        self._sides[place] = drafted
        return Answer(
            tuple(
                others[item] if side == "challenger" or item not in rows else rows[item]
                for item, side in drafted
            ),
            own.notes,
        )

    def _recommended(self, place: int, answer: Answer) -> Answer:
        if not _is_recommendation(self.questions[place]):
            return answer
        version: str | None = self.number
        versions: tuple[str | None, ...] = ()
        if self.rival is not None and place not in self._instead:
            one = self.rival.comparison
            if place in self._sides:
                named = {"champion": one.champion, "challenger": one.challenger, None: None}
                version, versions = None, tuple(named[side] for _, side in self._sides[place])
            elif self._arms.get(place) == "challenger":
                version = one.challenger
        return Recommended(answer.rows, answer.notes, uuid.uuid4().hex, version, versions)

    def _segment(self, user: str | None) -> str:
        """What kind of user it is: by the likes that the champion was trained on."""
        if user is None or user not in self.recommender.users:
            return "new since the training"
        likes = len(self.recommender.seen.of(self.recommender.users.index(user)))
        return next((name for least, name in _LIKES if likes >= least), "no likes")


def _is_recommendation(question: Question) -> TypeGuard[Recommend | Rank]:
    return isinstance(question, Recommend | Rank)


def _user(question: Question) -> str | None:
    """Whom a recommendation is for, if it says so."""
    return question.id if _is_recommendation(question) else None
