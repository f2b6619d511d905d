"""The champion for a long-running program: always the current one, looked up now and then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from recsys.base.config import Tracking
from recsys.base.environment import tracking_uri
from recsys.base.errors import NotFoundError, RecsysError
from recsys.base.redaction import redacted
from recsys.bundle import Bundle, load_bundle
from recsys.data.answers_log import AnswersLog
from recsys.data.likes_log import LikesLog
from recsys.recommend.availability import HasAvailability
from recsys.recommend.house_rules import HasRules
from recsys.recommend.recommender import Recommender
from recsys.tracking.address import require_registry
from recsys.tracking.bundles import locate_bundle
from recsys.tracking.local import UnreadableError, read_version
from recsys.tracking.versions import CHAMPION, ModelAddress, Version

_log = logging.getLogger(__name__)
_opened: dict[Path, Bundle] = {}


def open_before_forking(name: str) -> None:
    """Open a model's champion here, so that processes which are forked from this one share it.

    Nothing happens where it cannot be opened: each of them says why, where it is heard.
    """
    with suppress(RecsysError):
        folder = locate_bundle(str(ModelAddress(name, alias=CHAMPION)))
        _opened[folder] = _ready(load_bundle(folder))
        pa.default_memory_pool().release_unused()


def _ready(bundle: Bundle) -> Bundle:
    """The bundle, with what questions need of it made before the first of them comes."""
    _ = ("" in bundle.users, "" in bundle.items, bundle.untrained, bundle.likes, bundle.not_listed)
    _ = bundle.name_texts, bundle.screening.made()
    return bundle


class Champion:
    """Answers with the model that the alias `champion` points at, without restarts.

    One thread at a time looks whether the alias has moved; the others go on with the model that is
    there, and so does everybody while the registry does not answer. Questions make it look, unless
    a thread of its own does (`followed`).

    Parameters
    ----------
    name : str
        The registered model.
    uri : str or None
        The registry; by default MLFLOW_TRACKING_URI, or the project's own database.
    every : float
        Seconds between two looks at the alias, at least.
    availability : HasAvailability or None
        Which items may be shown; see `recsys.recommend.availability`. By default all.
    fresh : LikesLog or None
        What users have said since a model was trained.
    rules : HasRules or None
        How the lists of users are made beside the scores; see `recsys.recommend.house_rules`.
    answers : AnswersLog or None
        What users were shown, for rules that hide it.
    lists : mapping of str to HasAvailability, or None
        Lists of items by name, for `Filters.lists`.
    named : str
        Another alias to follow, or the number of a version to stay with.

    Examples
    --------
    >>> champion = Champion("sample")  # doctest: +SKIP
    >>> champion.current().recommend("blender", n=5)  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        uri: str | None = None,
        every: float = 30.0,
        availability: HasAvailability | None = None,
        fresh: LikesLog | None = None,
        rules: HasRules | None = None,
        answers: AnswersLog | None = None,
        lists: Mapping[str, HasAvailability] | None = None,
        named: str = CHAMPION,
    ) -> None:
        self._name, self._every, self._named = name, every, named
        self._availability, self.fresh = availability, fresh
        self._rules, self._answers, self._lists = rules, answers, dict(lists or {})
        self._uri = uri or tracking_uri()
        self._lock = threading.Lock()
        self._held: tuple[str, Recommender] | None = None
        self._looked = 0.0
        self._followed = False
        self.made: float | None = None  # when the version that answers was registered

    def beside(self, named: str) -> Champion:
        """Another version of the model, which answers with the same logs, rules and lists.

        Parameters
        ----------
        named : str
            An alias, or the number of a version.
        """
        return Champion(
            self._name,
            self._uri,
            self._every,
            self._availability,
            self.fresh,
            self._rules,
            self._answers,
            self._lists,
            named,
        )

    @property
    def version(self) -> str | None:
        """The version that answers; None before the first question."""
        return None if self._held is None else self._held[0]

    @property
    def held(self) -> bool:
        """Whether the next question is answered without a look at the registry."""
        return self._held is not None and (
            self._followed or time.monotonic() - self._looked < self._every
        )

    @contextmanager
    def followed(self) -> Iterator[None]:
        """A thread looks at the alias meanwhile.

        No question waits for the registry then, or for a bundle that is opened, and a model that
        nobody has asked for hours is the champion all the same.

        Raises
        ------
        NotFoundError, RegistryError
            If there is no champion to begin with.
        """
        self.current()
        ended = threading.Event()
        thread = threading.Thread(target=self._keep_looking, args=(ended,), daemon=True)
        self._followed = True
        thread.start()
        try:
            yield
        finally:
            self._followed = False
            ended.set()

    def _keep_looking(self, ended: threading.Event) -> None:
        while not ended.wait(self._every):
            try:
                with self._lock:
                    self._look()
            except RecsysError as fault:
                self._say_still(fault)
            except Exception:  # the next look may find what is whole again
                _log.exception("still version %s of %s", self.version, self._name)

    def current(self) -> Recommender:
        """The champion's recommender, the same object until the champion changes.

        Raises
        ------
        NotFoundError, RegistryError
            If there is no champion, or the registry does not answer, and there never was one.
        """
        return self.current_version()[1]

    def current_version(self) -> tuple[str, Recommender]:
        """The champion's version and its recommender; see `current`."""
        held = self._held
        if held is None:
            with self._lock:
                return self._look()
        if not self.held and self._lock.acquire(blocking=False):
            try:
                return self._look()
            except RecsysError as fault:
                self._say_still(fault)
            finally:
                self._lock.release()
        return held

    def _say_still(self, fault: RecsysError) -> None:
        _log.warning("still version %s of %s: %s", self.version, self._name, fault)

    def _look(self) -> tuple[str, Recommender]:
        held = self._held
        if held is not None and time.monotonic() - self._looked < self._every:
            return held  # another thread looked while this one waited
        self._looked = time.monotonic()
        found = self._champion()
        if found is None:
            raise NotFoundError(
                f"{self._name} has no {self._named} in {redacted(self._uri)}",
                f"a version with the alias {CHAMPION}"
                if self._named == CHAMPION
                else "an alias or the number of a version",
                "train first (recsys train), or promote a version",
            )
        if held is None or held[0] != found.number:
            address = ModelAddress(self._name, number=found.number)
            folder = locate_bundle(str(address), self._uri)
            model = Recommender(
                _opened.get(folder) or _ready(load_bundle(folder)),
                availability=self._availability,
                fresh=self.fresh,
                rules=self._rules,
                answers=self._answers,
                lists=self._lists,
            )
            held = found.number, model
            self._held = held
            self.made = None if found.created is None else found.created / 1000
            # Reading the bundle has taken several times the memory of what was read.
            pa.default_memory_pool().release_unused()
        return held

    def _champion(self) -> Version | None:
        """The version that is meant; a local registry is read without MLflow.

        MLflow would be a third of the memory of a server.
        """
        require_registry(self._uri)
        number, alias = (self._named, None) if self._named.isdecimal() else (None, self._named)
        try:
            return read_version(self._uri, ModelAddress(self._name, alias, number))
        except UnreadableError:
            from recsys.tracking.registry import open_registry

            # Nobody is kept waiting for a registry that is away: the version that is held answers.
            registry = open_registry(Tracking(uri=self._uri, patience=0), self._name)
            return registry.at(alias) if alias is not None else registry.version(self._named)
