"""Pictures of items: their addresses, and the hosts that pages may load them from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow.compute as pc

from recsys.base.config import Config, Gallery
from recsys.base.errors import ConfigError, InputError
from recsys.data.column_names import find_known
from recsys.data.dialects import TextFormat
from recsys.data.feature_sources import feature_sources
from recsys.data.formats import text_format
from recsys.data.tables import open_table, read_table
from recsys.gallery.links import Links
from recsys.gallery.sketchfab import Sketchfab

SKETCHFAB = "sketchfab"
_MOST_HOSTS = 20


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of items are; by default no item has one and all get a drawing.

    Parameters
    ----------
    template : str or None
        A URL with {id} in it.
    urls : mapping of str to str
        URLs by item id; they take precedence over the template.
    sketchfab : Sketchfab or None
        Asks Sketchfab, for items that have no picture otherwise.
    """

    template: str | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    sketchfab: Sketchfab | None = None

    def of(self, item: str, links: Links) -> str | None:
        """The address of an item's picture; None if it has none and gets a drawing."""
        if item in self.urls:
            return self.urls[item]
        if self.template is not None:
            return self.template.replace("{id}", quote(item, safe=""))
        if self.sketchfab is not None and self.sketchfab.knows(item):
            return links.picture(item)
        return None

    @property
    def origins(self) -> list[str]:
        """Scheme and host of everything that pages load from other servers."""
        templates = [] if self.template is None else [self.template]
        return sorted({_origin(url) for url in [*templates, *self.urls.values()] if _is_web(url)})


def pictures(config: Config) -> Pictures:
    """Find the pictures as configured.

    Raises
    ------
    ConfigError
        If the template is no URL with {id}, or a table is named without its column.
    InputError
        If the table cannot be read, or its pictures are on more hosts than a page should name.
    """
    options = config.gallery
    urls = _of_tables(config)
    if options.pictures is None:
        return Pictures(urls=urls)
    if options.pictures == SKETCHFAB:
        folder = Path(options.folder) / SKETCHFAB
        return Pictures(urls=urls, sketchfab=Sketchfab(folder))
    host = urlsplit(options.pictures).netloc
    if not _is_web(options.pictures) or "{id}" not in options.pictures or "{id}" in host:
        raise ConfigError(
            f"gallery.pictures = {options.pictures!r}",
            'an http(s) address with {id} in its path or query, or "sketchfab"',
            "as in https://example.org/thumbnails/{id}.jpg",
        )
    return Pictures(options.pictures, urls)


def _of_tables(config: Config) -> dict[str, str]:
    """Read URLs by item from a column of the item tables; what is no web address is left out."""
    options, data = config.gallery, config.data
    if options.table is not None:
        text = TextFormat() if data is None else text_format(data, data.features_text)
        tables = [(options.table, text, options.item_column)]
    else:
        described = [] if data is None else feature_sources(data, "item")
        tables = [(one.source, one.text, one.columns.owner or "") for one in described]
    urls: dict[str, str] = {}
    for table in tables:
        urls = _of_table(*table, options) | urls
    hosts = {_origin(url) for url in urls.values()}
    if len(hosts) > _MOST_HOSTS:
        raise InputError(
            f"{', '.join(source for source, *_ in tables)} has pictures on {len(hosts):,} hosts",
            f"at most {_MOST_HOSTS}, because every page names them all",
            "serve the pictures from fewer places",
        )
    return urls


def _of_table(source: str, text: TextFormat, item: str, options: Gallery) -> dict[str, str]:
    try:
        names = open_table(source, text).names
        found = options.column or find_known(names, "picture")
        if item not in names and options.item_column in names:
            item = options.item_column
        if item not in names:
            item = find_known(names, "item") or item
        if found is None or (found not in names and options.table is None):
            if options.table is None:
                return {}
            raise ConfigError(
                "gallery.table without gallery.column",
                "the column that holds the pictures' addresses",
                "name it, as in --set gallery.column=thumbnail",
            )
        table, _ = read_table(source, {"item": item, "picture": found}, ["item"], text)
    except InputError:
        # Features may be gone when the gallery is made; a table that was named may not.
        if options.table is not None:
            raise
        return {}
    items = table.column("item").cast("string").to_pylist()
    given = pc.cast(table.column("picture"), "string").to_pylist()
    pairs = zip(items, given, strict=True)
    return {item: url for item, url in pairs if item and url and _is_web(url)}


def _is_web(url: str) -> bool:
    """Whether it is a web address whose host can stand in a header."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    host = parts.netloc
    return parts.scheme in ("http", "https") and bool(host) and not set(host) & set(" ;,'\"@*\\")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
