"""Column names: which of a table's columns are the users, the items and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from recsys.base.errors import InputError

# What a column may be called, in the order of preference; case, blanks, `_` and `-` do not count.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "user": (
        "userid", "uid", "user", "customerid", "customer", "visitorid", "visitor", "memberid",
        "member", "accountid", "account", "clientid", "client", "personid", "person", "reviewerid",
        "username", "userkey", "useruuid", "usercode", "usernumber", "customercode",
        "customernumber", "customerno", "customername", "custid", "custno", "cust", "membernumber",
        "memberno", "clientnumber", "accountnumber", "buyerid", "buyer", "shopperid", "shopper",
        "subscriberid", "listenerid", "listener", "readerid", "reader", "viewerid", "viewer",
        "playerid", "householdid", "householdkey", "borrowerid", "steamid", "msno", "kunde",
        "kundennummer", "kundennr",
    ),
    "item": (
        "itemid", "mid", "iid", "item", "movieid", "productid", "product", "articleid", "article",
        "trackid", "songid", "artistid", "bookid", "modelid", "videoid", "gameid", "animeid",
        "appid", "isbn", "asin", "sku", "movie", "song", "track", "artist", "book", "contentid",
        "postid", "recipeid", "newsid", "jobid", "stockcode", "parentasin", "itemcode",
        "itemnumber", "itemno", "productcode", "productnumber", "productno", "articlecode",
        "articlenumber", "articleno", "materialnumber", "ean", "gtin", "upc", "barcode", "showid",
        "podcastid", "episodeid", "courseid", "listingid", "hotelid", "restaurantid", "businessid",
        "venueid", "poiid", "paperid", "artikel", "artikelnummer", "artikelnr", "trackuri",
        # Names, where there is no id.
        "trackname", "songname", "artistname", "moviename", "gamename", "bookname",
    ),
    "name": (
        "itemname", "modelname", "itemtitle", "title", "productname", "articlename", "movietitle",
        "booktitle", "prodname", "trackname", "songname", "songtitle", "tracktitle", "gametitle",
        "name",
    ),
    "type": ("type", "featuretype", "kind"),
    "value": ("value", "feature", "featurevalue", "tag", "category", "genre"),
    "rating": (
        "rating", "ratings", "stars", "score", "bookrating", "userrating", "movierating", "overall",
        "reviewscore", "bewertung", "note", "liked", "isliked", "islike", "like", "thumbsup",
    ),
    "event": ("event", "eventtype", "eventname", "behavior", "behaviour", "action", "eventkind"),
    "time": (
        "timestamp", "time", "datetime", "date", "ts", "createdat", "eventtime", "tdat", "datum",
        "unixreviewtime", "reviewtime", "when",
    ),
    "weight": (
        "weight", "plays", "playcount", "listens", "listencount", "quantity", "qty", "count",
    ),
    "picture": (
        "picture", "pictureurl", "image", "imageurl", "imageurll", "imageurlm", "imageurls",
        "imgurl", "imagelink", "poster", "posterurl", "posterpath", "thumbnail", "thumbnailurl",
        "cover", "coverurl",
    ),
    "from": ("from", "availablefrom", "validfrom"),
    "until": ("until", "availableuntil", "validuntil"),
    "in_stock": ("instock", "available", "isavailable", "stock"),
}  # fmt: skip


# What may tell likes from dislikes in a table of likes, but means other things elsewhere: such a
# column is asked about, and not read by itself.
OPINIONS = (
    "value", "vote", "preference", "opinion", "reaction", "feedback", "sentiment", "grade",
    "rate", "recommended", "isrecommended", "recommend", "votedup", "upvoted", "upvote",
    "positive", "label", "target", "userscore", "reviewrating", "starrating", "ratingvalue",
    "interested", "clicked", "click", "isclick", "purchased", "puntuacion", "calificacion",
    "valoracion",
)  # fmt: skip


def plain(name: str) -> str:
    """A column's name without case, blanks and punctuation."""
    return re.sub("[^a-z0-9]", "", name.lower())


def find_known(columns: Iterable[str], role: str) -> str | None:
    """The column that is known by its name to have a role, a key of `KNOWN`; None if none is."""
    named = {plain(column): column for column in reversed(list(columns))}
    return next((named[name] for name in KNOWN[role] if name in named), None)


def find_opinions(columns: Iterable[str]) -> list[str]:
    """The columns that may say whether a row is a like: by their names, or since they have none."""
    listed = list(columns)
    unnamed = all(column.isdigit() for column in listed)
    return [column for column in listed if unnamed or plain(column) in OPINIONS]


def known_columns(columns: Iterable[str]) -> int:
    """How many of the columns have a name that is known for some role."""
    every = {name for names in KNOWN.values() for name in names}
    return sum(plain(column) in every for column in columns)


def find_columns(
    columns: Sequence[str],
    wanted: Mapping[str, str | None],
    required: Mapping[str, str],
    source: str,
) -> dict[str, str | None]:
    """The table's name of each wanted column: the one given, else the first that is known.

    Parameters
    ----------
    columns : sequence of str
        Those of the table.
    wanted : mapping of str to (str or None)
        Our names, and the table's name where the caller gave one; '' for no column.
    required : mapping of str to str
        Our names of the columns that there must be, and what names them, for messages.
    source : str
        The table's name in messages.

    Raises
    ------
    InputError
        If a required column is not found; a column that was given is looked for by the reader.
    """
    found: dict[str, str | None] = {}
    taken = {given for given in wanted.values() if given}
    for ours, given in wanted.items():
        free = [column for column in columns if column not in taken]
        found[ours] = (given or None) if given is not None else find_known(free, ours)
        if found[ours] is None and ours in required:
            python = f" (in Python {ours}='…')"
            raise InputError(
                f"no column is known as the {ours} among "
                f"{', '.join(map(repr, columns[:20]))} ({source})",
                f"one called such as {ours}_id or {ours}",
                f"say which it is in {required[ours]}{python}"
                + ("" if len(columns) > 1 else ", or what is between fields in data.delimiter"),
            )
    return found


def by_position(name: str, columns: Sequence[str]) -> str:
    """The column of a name, or the one at a position from 1 where no column has that name."""
    if name not in columns and name.isdigit() and 0 < int(name) <= len(columns):
        return columns[int(name) - 1]
    return name
