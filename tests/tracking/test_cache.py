"""The bundle cache: entries that are whole or not there, the oldest removed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from recsys.base.errors import InputError, StorageError
from recsys.tracking.cache import BundleCache, CacheKey


def key(number: str, registry: str = "http://mlflow") -> CacheKey:
    return CacheKey(registry, "fruit", number, "d1")


def fill(folder: Path) -> None:
    (folder / "data").write_bytes(b"x" * 1000)


def check(folder: Path) -> None:
    if (folder / "data").read_bytes() != b"x" * 1000:
        raise InputError("damaged")


def test_an_entry_is_filled_once(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path / "cache")
    filled: list[Path] = []

    def counted(folder: Path) -> None:
        filled.append(folder)
        fill(folder)

    first = cache.get(key("1"), counted, check)
    assert cache.get(key("1"), counted, check) == first
    assert len(filled) == 1
    assert [*cache.root.iterdir()] == [first]


def test_keys_that_differ_anywhere_have_entries_of_their_own(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path)
    keys = [key("1"), key("2"), key("1", "http://other"), CacheKey("http://mlflow", "a/b", "1", "")]
    keys += [
        CacheKey("http://mlflow", "fruit", "1", "d2"),
        CacheKey("http://mlflow", "a_b", "1", ""),
    ]
    assert len({cache.get(one, fill, check) for one in keys}) == len(keys)
    assert {path.parent for path in tmp_path.rglob("data")} == set(tmp_path.iterdir())


def test_the_entries_used_longest_ago_are_removed(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path, most_bytes=2500)
    first, second = (cache.get(key(number), fill, check) for number in "12")
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    assert cache.find(key("1"), check) == first  # used now
    third = cache.get(key("3"), fill, check)
    assert {*tmp_path.iterdir()} == {first, third}


def test_the_one_just_fetched_stays_however_large(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path, most_bytes=1)
    cache.get(key("1"), fill, check)
    second = cache.get(key("2"), fill, check)
    assert [*tmp_path.iterdir()] == [second]


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path)

    def cut_off(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(key("1"), cut_off, check)
    with pytest.raises(InputError):
        cache.get(key("1"), lambda folder: (folder / "data").write_bytes(b"y"), check)
    assert [*tmp_path.iterdir()] == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-old").mkdir()
    (tmp_path / ".unfinished-old.lock").touch()
    BundleCache(tmp_path).get(key("1"), fill, check)
    assert not list(tmp_path.glob(".unfinished-*"))


def test_threads_that_want_the_same_entry_fill_it_once(tmp_path: Path) -> None:
    cache = BundleCache(tmp_path)
    filled: list[Path] = []

    def slowly(folder: Path) -> None:
        filled.append(folder)
        time.sleep(0.2)
        fill(folder)

    threads = [threading.Thread(target=cache.get, args=(key("1"), slowly, check)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(filled) == 1


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StorageError, NotADirectoryError)):
        BundleCache(tmp_path / "file" / "cache").get(key("1"), fill, check)
