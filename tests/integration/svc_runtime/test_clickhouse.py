"""The shared connection to ClickHouse, on the embedded engine."""

from pathlib import Path

import clickhouse_connect
import pytest

from svc_runtime.clickhouse import ClickHouse, Dsn, select
from svc_runtime.errors import UnavailableError

pytestmark = pytest.mark.store

# It fails after it has given rows, and the driver has taken them in.
BREAKS_LATE = "SELECT toString(number), throwIf(number = 90000) FROM numbers(100000) SETTINGS max_block_size = 1000"


def open_client(dsn: Dsn):
    return clickhouse_connect.get_client(interface="chdb", path=dsn.path)


async def test_an_answer_that_broke_off_is_not_in_front_of_the_next_one(tmp_path: Path) -> None:
    clickhouse = ClickHouse(
        Dsn(is_embedded=True, database="default", path=str(tmp_path / "engine")),
        open_client=open_client,
        translate=lambda error: UnavailableError(type(error).__name__),
    )
    try:
        for number in range(5):
            with pytest.raises(UnavailableError):
                await select(clickhouse, BREAKS_LATE)
            assert await select(clickhouse, f"SELECT 'clean', {number}") == [("clean", number)]
    finally:
        await clickhouse.close()
