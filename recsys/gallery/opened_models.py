"""Model versions that are open at the moment: the champion, and others as pages ask for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from recsys.base.config import Tracking
from recsys.base.environment import tracking_uri
from recsys.base.errors import NotFoundError
from recsys.bundle import bundle_digest
from recsys.data.answers_log import AnswersLog
from recsys.gallery.colours import Colours, colours
from recsys.gallery.name_search import NameSearch
from recsys.gallery.placeholders import Placeholders
from recsys.recommend.house_rules import HasRules
from recsys.recommend.queries.view import BundleView
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.loading import load
from recsys.tracking.registry import Registry, open_registry
from recsys.tracking.versions import Version

_KEPT = 3  # versions that stay open beside the champion


@dataclass(frozen=True)
class Rules:
    """How the lists of users are made beside the scores; by default by scores alone.

    Parameters
    ----------
    rules : HasRules or None
        See `recsys.recommend.house_rules`.
    answers : AnswersLog or None
        What users were shown, for rules that hide it.
    """

    rules: HasRules | None = None
    answers: AnswersLog | None = None

    @property
    def described(self) -> str:
        """How many rules of each kind there are; "" for none."""
        return "" if self.rules is None else self.rules.current().described()


@dataclass(frozen=True)
class OpenedModel:
    """An open version, with what pages derive from it.

    Parameters
    ----------
    number : str
        The version; empty for a bundle's folder.
    recommender : Recommender
        Without house rules.
    rules : Rules
    """

    number: str
    recommender: Recommender
    rules: Rules = field(default_factory=Rules)

    @cached_property
    def ruled(self) -> Recommender:
        """The same with house rules, whose lists are those that people are shown."""
        return replace(self.recommender, rules=self.rules.rules, answers=self.rules.answers)

    @property
    def source(self) -> BundleView:
        """The bundle with its derived arrays."""
        return self.recommender.view

    @cached_property
    def digest(self) -> str:
        """The digest of the bundle, which identifies its map."""
        return bundle_digest(self.recommender.manifest)

    @cached_property
    def name_search(self) -> NameSearch:
        """The search for names."""
        return NameSearch(self.source)

    @cached_property
    def colours(self) -> Colours:
        """The colours of items."""
        return colours(self.recommender.bundle)

    @cached_property
    def placeholders(self) -> Placeholders:
        """The drawings for items without a picture."""
        return Placeholders(self.source)

    def warm(self) -> None:
        """Compute what the first page would otherwise wait for."""
        source = self.source
        _ = source.inverse_lengths, source.inverse_feature_lengths, source.likes
        _ = source.bundle.items.index(source.bundle.items.id(0)) if len(source.bundle.items) else 0
        _ = source.bundle.users.index(source.bundle.users.id(0)) if len(source.bundle.users) else 0
        self.colours.label(0)
        self.name_search.find("a", 1)


class OpenedModels:
    """The versions of one registered model, or one bundle in a folder.

    Parameters
    ----------
    model : str
        A registered name, or a bundle's folder.
    uri : str or None
        The registry; by default MLFLOW_TRACKING_URI, or the project's own database.
    every : float
        Seconds between two looks whether the champion has changed, at least.
    rules : Rules
        Of the lists of users.
    """

    def __init__(
        self, model: str, uri: str | None = None, every: float = 30.0, rules: Rules = Rules()
    ) -> None:
        self.model, self.rules = model, rules
        self.uri = uri or tracking_uri()
        self._lock = threading.Lock()
        self._others: OrderedDict[str, OpenedModel] = OrderedDict()
        self._first: OpenedModel | None = None
        self._in_folder = "/" in model or (Path(model) / "manifest.json").is_file()
        if self._in_folder:
            self._first = OpenedModel("", load(model), rules)
        else:
            self._champion = Champion(model, self.uri, every)

    @cached_property
    def registry(self) -> Registry | None:
        """The registry of the model; None for a bundle in a folder.

        Raises
        ------
        RegistryError
            If the registry is a local database that does not exist.
        """
        if self._in_folder:
            return None
        return open_registry(Tracking(uri=self.uri, patience=0), self.model)

    @property
    def title(self) -> str:
        """The name of the model, or of the bundle's folder."""
        return Path(self.model).resolve().name if self._in_folder else self.model

    def champion(self) -> OpenedModel:
        """Return the current champion, or the bundle of the folder.

        Raises
        ------
        NotFoundError, RegistryError
            If there is no champion, or the registry does not answer, and there never was one.
        """
        if self.registry is None:
            assert self._first is not None
            return self._first
        recommender = self._champion.current()
        with self._lock:
            if self._first is None or self._first.recommender is not recommender:
                number = self._champion.version
                if self._champion.current() is not recommender:  # it moved between the two
                    recommender, number = self._champion.current(), self._champion.version
                self._first = OpenedModel(str(number), recommender, self.rules)
            return self._first

    def open(self, version: str | None) -> OpenedModel:
        """Open a version by its number; the champion if none is given.

        Raises
        ------
        NotFoundError
            If there is no such version.
        RegistryError
            If the registry does not answer.
        """
        if not version:
            return self.champion()
        if self.registry is None:
            raise NotFoundError(
                f"version {version} of a bundle in a folder",
                "no version",
                "name a registered model to look at its versions",
            )
        first = self._first
        if first is not None and first.number == version:
            return first
        with self._lock:
            if version in self._others:
                self._others.move_to_end(version)
                return self._others[version]
        number = self.registry.version(version).number
        opened = OpenedModel(number, Recommender.load(self.registry.bundle(number)), self.rules)
        with self._lock:
            self._others[version] = opened
            while len(self._others) > _KEPT:
                self._others.popitem(last=False)
        return opened

    def versions(self) -> list[tuple[Version, tuple[str, ...]]]:
        """List all versions with their aliases, newest first; none for a folder.

        Raises
        ------
        RegistryError
            If the registry does not answer.
        """
        if self.registry is None:
            return []
        aliases = self.registry.aliases()
        return [
            (version, tuple(sorted(a for a, number in aliases.items() if number == version.number)))
            for version in self.registry.versions()
        ]
