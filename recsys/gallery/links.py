"""Links to the pages; a page depends on nothing but its address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

Pair = tuple[str, object]
_OWN: dict[bool, list[Pair]] = {False: [], True: [("own", 1)]}


@dataclass(frozen=True)
class Links:
    """Links to pages about one version of the model.

    Parameters
    ----------
    version : str or None
        The number of the version; None for the champion, whichever that is at the time.
    """

    version: str | None = None

    def home(self) -> str:
        """Link to the front page."""
        return self._to("/")

    def find(self, query: str = "") -> str:
        """Link to what is found for a text."""
        return self._to("/find", [("q", query)] if query else [])

    def item(
        self, item: str, *, new: bool = False, every: bool = False, add: str | None = None
    ) -> str:
        """Link to an item: as if new, with untrained items in its lists, with one more tag."""
        pairs: list[Pair] = [("id", item)]
        pairs += [("new", 1)] if new else []
        pairs += [("all", 1)] if every else []
        pairs += [("add", add)] if add is not None else []
        return self._to("/item", pairs)

    def tag(self, plus: Iterable[str], minus: Iterable[str] = (), *, every: bool = False) -> str:
        """Link to items for tags, those in `minus` subtracted; `every` with untrained items."""
        pairs: list[Pair] = [("plus", tag) for tag in plus]
        pairs += [("minus", tag) for tag in minus]
        pairs += [("all", 1)] if every else []
        return self._to("/tag", pairs)

    def user(self, user: str, *, own: bool = False) -> str:
        """Link to a user, with the list that house rules make or with the model's own."""
        return self._to("/user", [("id", user), *_OWN[own]])

    def new(self, likes: Iterable[str] = (), *, own: bool = False) -> str:
        """Link to the page of a new user with some likes; `own` as for a user."""
        return self._to("/new", [*(("like", item) for item in likes), *_OWN[own]])

    def compare(self, a: str = "", b: str = "", **subject: str) -> str:
        """Link to a comparison of two versions, in general or for one `item`, `user` or `tag`."""
        pairs: list[Pair] = [("a", a)] if a else []
        pairs += [("b", b)] if b else []
        return _joined("/compare", [*pairs, *subject.items()])

    def map(self, search: str = "") -> str:
        """Link to the map, with matching names highlighted."""
        return self._to("/map", [("q", search)] if search else [])

    def run(self) -> str:
        """Link to the training run of the version."""
        return self._to("/run")

    def online(self) -> str:
        """Link to what real users have shown."""
        return self._to("/online")

    def picture(self, item: str) -> str:
        """Link to an item's picture as this server passes it on."""
        return self._to("/picture", [("id", item)])

    def _to(self, path: str, pairs: Iterable[Pair] = ()) -> str:
        known: list[Pair] = [("v", self.version)] if self.version is not None else []
        return _joined(path, [*pairs, *known])


def _joined(path: str, pairs: list[Pair]) -> str:
    return f"{path}?{urlencode(pairs, quote_via=quote)}" if pairs else path
