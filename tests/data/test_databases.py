"""Databases and lakes give the same likes as a file, and nothing is written to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from recsys.base.errors import InputError
from recsys.data.interactions import InteractionColumns, InteractionTable, read_interaction_table
from recsys.data.tables import fingerprint
from tests.fixtures.servers import mariadb, postgres

ROWS = [(f"u{n % 7}", 100 + n % 11, f"It's {n % 11}", 1.5 * (1 + n % 3)) for n in range(60)]
FRAME = pd.DataFrame(ROWS, columns=["user_id", "item_id", "title", "amount"])
COLUMNS = InteractionColumns(weight="amount")
CREATE = (
    "CREATE TABLE likes (user_id varchar(9), item_id bigint, title varchar(20), "
    "amount numeric(8, 2), made timestamp DEFAULT '2026-01-31 12:00:00')"
)
INSERT = "INSERT INTO likes (user_id, item_id, title, amount) VALUES (%s, %s, %s, %s)"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgres(("shop",)) as place:
        import psycopg

        with psycopg.connect(f"postgresql://{place}/shop") as connection:
            connection.execute(CREATE)
            with connection.cursor() as cursor:
                cursor.executemany(INSERT, ROWS)
        yield f"postgresql://{place}/shop"


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    with mariadb("shop") as place:
        yield f"mysql://{place}/shop"


@pytest.fixture
def in_mysql(mysql: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import pymysql

    monkeypatch.setenv("MYSQL_PWD", "secret")
    port = int(mysql.rsplit(":", 1)[1].split("/")[0])
    with pymysql.connect(
        host="127.0.0.1", port=port, user="liked", password="secret", database="shop"
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("DROP TABLE IF EXISTS likes")
        cursor.execute(CREATE)
        cursor.executemany(INSERT, ROWS)
        connection.commit()
    return mysql


def pairs(found: InteractionTable) -> list[tuple[str, str, float]]:
    made = found.interactions
    assert made.weight is not None
    users, items = made.users.take(made.user), made.items.take(made.item)
    return list(zip(users, items, made.weight.tolist(), strict=True))


def as_from_a_frame(source: str) -> None:
    found, wanted = (read_interaction_table(s, COLUMNS) for s in (source, FRAME))
    assert pairs(found) == pairs(wanted)
    assert found.rows == wanted.rows == 60
    assert found.names is not None
    assert found.names.equals(wanted.names)


def test_postgresql_gives_what_a_frame_gives_and_takes_no_command(postgresql: str) -> None:
    as_from_a_frame(f"{postgresql}#likes")
    as_from_a_frame(f"{postgresql}#public.likes")
    query = "SELECT user_id, item_id, title, amount FROM likes WHERE amount < 3;"
    few = read_interaction_table(f"{postgresql}#{query}", COLUMNS)
    assert few.rows == 20
    timed = InteractionColumns(weight="amount", timestamp="made")
    times = read_interaction_table(f"{postgresql}#likes", timed).interactions.timestamp
    assert times is not None
    assert set(times.tolist()) == {1_769_860_800}
    for wrong, said in (
        ("#WITH x AS (DELETE FROM likes RETURNING *) SELECT * FROM x", "cannot be read"),
        ("#nothing", 'relation "nothing" does not exist'),
        ("", "names no table"),
    ):
        with pytest.raises(InputError, match=said):
            read_interaction_table(postgresql + wrong)
    as_from_a_frame(f"{postgresql}#likes")


def test_the_fingerprint_of_a_query_changes_with_its_rows_and_not_with_their_order(
    postgresql: str,
) -> None:
    made = {
        query: fingerprint(f"{postgresql}#TABLE likes {query}")
        for query in ("ORDER BY title", "ORDER BY title, amount DESC", "LIMIT 9")
    }
    assert len(set(made.values())) == 3  # the query is part of it
    table = fingerprint(f"{postgresql}#likes")
    import psycopg

    with psycopg.connect(postgresql) as connection:
        connection.execute("CREATE TABLE copied AS SELECT * FROM likes ORDER BY title DESC")
        connection.execute("ALTER TABLE likes RENAME TO aside")
        connection.execute("ALTER TABLE copied RENAME TO likes")
    assert fingerprint(f"{postgresql}#likes") == table
    with psycopg.connect(postgresql) as connection:
        connection.execute("UPDATE likes SET amount = 9 WHERE item_id = 101 AND user_id = 'u1'")
    assert fingerprint(f"{postgresql}#likes") != table
    with psycopg.connect(postgresql) as connection:
        connection.execute("DROP TABLE likes")
        connection.execute("ALTER TABLE aside RENAME TO likes")


def test_secrets_of_an_address_are_in_no_message(postgresql: str) -> None:
    address = postgresql.replace("liked@", "liked:geheim@").rsplit(":", 1)[0] + ":1/shop#likes"
    with pytest.raises(InputError) as fault:
        read_interaction_table(address)
    assert "geheim" not in str(fault.value)


def test_mysql_gives_what_a_frame_gives_and_takes_no_command(in_mysql: str) -> None:
    as_from_a_frame(f"{in_mysql}#likes")
    with pytest.raises(InputError, match="doesn't exist"):
        read_interaction_table(f"{in_mysql}#nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_interaction_table(f"{in_mysql}#likes; DROP TABLE likes")
    assert fingerprint(f"{in_mysql}#likes") == fingerprint(f"{in_mysql}#likes")


def test_a_delta_table_is_what_its_log_says(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    gone = FRAME.assign(user_id="gone")
    deltalake.write_deltalake(str(tmp_path), pa.Table.from_pandas(gone))
    deltalake.write_deltalake(str(tmp_path), pa.Table.from_pandas(FRAME), mode="overwrite")
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    as_from_a_frame(str(tmp_path))


def test_an_iceberg_table_is_what_its_newest_metadata_say(tmp_path: Path) -> None:
    sql = pytest.importorskip("pyiceberg.catalog.sql")
    catalog = sql.SqlCatalog("c", uri="sqlite://", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("shop")
    rows = pa.Table.from_pandas(FRAME, preserve_index=False)
    table = catalog.create_table("shop.likes", rows.schema)
    table.append(pa.Table.from_pandas(FRAME.assign(user_id="gone"), preserve_index=False))
    table.overwrite(rows)
    (folder,) = [path.parent for path in tmp_path.rglob("metadata")]
    as_from_a_frame(str(folder))
    with pytest.raises(InputError, match="name the folder"):
        read_interaction_table(folder.parent)
