"""Questions as records: what is read, what is refused and how that is said, and their schema."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from recsys.base.errors import InputError
from recsys.serving.questions import NAMES, QUERIES, Questions, read_question, read_questions

SAID: dict[str, tuple[dict[str, Any], str]] = {
    "no such query": (
        {"query": "divine"},
        "query 'divine'; expected one of recommend, rank, similar, tag, suggest-tags, "
        "similar-tags, audience, explain; ask one of them",
    ),
    "no query": ({"id": "ann"}, "query ''; expected one of recommend"),
    "a query that is a list": ({"query": ["tag"]}, "query ['tag']; expected one of recommend"),
    "an unknown name": (
        {"query": "recommend", "user": "ann"},
        "a question with 'user'; expected some of exclude, features, id",
    ),
    "no id": (
        {"query": "similar-tags"},
        "query 'similar-tags' without an id; expected an id; give one",
    ),
    "no item": (
        {"query": "explain", "id": "ann"},
        "query 'explain' without an item; expected an item",
    ),
    "no rows": (
        {"query": "recommend", "n": 0},
        "n = 0; expected a whole number from 1 to 1000; ask for fewer",
    ),
    "rows in digits": ({"query": "recommend", "n": "10"}, "n = '10'; expected a whole number"),
    "true rows": ({"query": "recommend", "n": True}, "n = True; expected a whole number"),
    "endless rows": ({"query": "recommend", "n": float("inf")}, "n = inf; expected a whole number"),
    "a text for a list": (
        {"query": "similar", "tags": "red"},
        "tags = 'red'; expected a list; put it into square brackets",
    ),
    "an object for a list": (
        {"query": "similar", "tags": {"red": 1}},
        "tags = {'red': 1}; expected a list",
    ),
    "a long list": (
        {"query": "recommend", "liked": ["a"] * 1001},
        "1,001 entries of liked; expected at most 1,000; give fewer",
    ),
    "a long text": (
        {"query": "recommend", "id": "a" * 1001},
        "id of 1,001 characters; expected at most 1,000; check what is sent",
    ),
    "a fraction": (
        {"query": "recommend", "id": 1.5},
        "id = 1.5; expected text; put it into quotes",
    ),
    "a truth": ({"query": "recommend", "liked": [True]}, "liked = True; expected text"),
    "a huge number": (
        {"query": "recommend", "id": 2**64},
        "a number of id beyond 64 bits; expected text; put it into quotes",
    ),
    "half of a pair": ({"query": "recommend", "id": "\ud800"}, "expected text that is Unicode"),
    "a flag in words": (
        {"query": "recommend", "include_seen": "false"},
        "include_seen = 'false'; expected true or false; give one of them",
    ),
    "weights in words": (
        {"query": "tag", "tags": ["red"], "weights": ["1"]},
        "a weight '1'; expected a number between -1e6 and 1e6",
    ),
    "weights that are one": (
        {"query": "tag", "tags": ["red"], "weights": 1.0},
        "weights = 1.0; expected a list",
    ),
    "too few weights": (
        {"query": "tag", "tags": ["red", "green"], "weights": [1]},
        "1 weights for 2 tags; expected a weight for each tag, or none; give as many",
    ),
    "known and new": (
        {"query": "recommend", "id": "ann", "features": ["a"]},
        "user 'ann' with features; expected a known user",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_what_is_wrong_is_said_in_one_line(case: str) -> None:
    record, said = SAID[case]
    with pytest.raises(InputError) as caught:
        read_question(record)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_of_tables_are_read_as_those_of_json() -> None:
    plain = {"query": "tag", "tags": ["red", "7"], "weights": [1.0, 2.0], "n": 3}
    table = {
        "query": np.str_("tag"),
        "tags": np.array(["red", 7], object),
        "weights": np.array([1.0, 2.0]),
        "n": np.float64(3),
        "include_seen": np.bool_(False),
        "id": pd.NA,
        "item": float("nan"),
        "liked": None,
    }
    assert read_question(table) == read_question(plain)
    assert read_question({**plain, "tags": [np.str_("red"), np.int64(7)]}) == read_question(plain)


def test_false_is_the_default_of_a_flag() -> None:
    told = read_question({"query": "audience", "id": 1, "include_untrained": False})
    assert told.filters.include_untrained is None
    asked = read_question({"query": "audience", "id": 1, "include_untrained": True})
    assert asked.filters.include_untrained is True


def test_names_of_other_queries_are_ignored() -> None:
    alone = read_question({"query": "similar-tags", "id": "red"})
    assert read_question({"query": "similar-tags", "id": "red", "liked": ["a"]}) == alone


def test_the_schema_says_what_is_read() -> None:
    schema = Questions.model_json_schema()
    assert {name for model in schema["$defs"].values() for name in model["properties"]} == NAMES

    def fits(record: dict[str, Any]) -> bool:
        return jsonschema.Draft202012Validator(schema).is_valid({"questions": [record]})

    for query in QUERIES:
        record = {"query": query, "id": "ann", "item": 7, "items": ["a"], "n": 5, "must": ["a"]}
        assert fits(record)
        assert read_question(record).query == query
    beyond_schemas = (
        "half of a pair",
        "an unknown name",
        "too few weights",
        "known and new",
        "a huge number",
    )
    for case, (record, _) in SAID.items():
        assert not fits(record) or case in beyond_schemas, case


def test_a_thousand_questions_are_read_in_order() -> None:
    records = [{"query": "recommend", "id": f"u{i}", "n": 1} for i in range(1000)]
    found = read_questions(records, lambda _: nullcontext())
    assert [question.model_dump()["id"] for question in found] == [r["id"] for r in records]
    with pytest.raises(InputError, match="1,001 questions; expected at most 1,000 at once"):
        read_questions([*records, records[0]], lambda _: nullcontext())
