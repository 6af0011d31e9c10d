"""The attack corpus against the runner that serves tenants, where somebody else's rows lie beside the author's."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from analytics_svc.sql_answer import SqlFormat
from analytics_svc.sql_guard import QueryLimits, SqlRefusedError
from svc_runtime.clickhouse import parse_dsn
from svc_runtime.errors import TrellisError
from tests.integration.analytics_sql.service import Service, serving
from tests.integration.sql_guard.warehouse import ALONE, CANARIES, OWN, SHARED, opened
from tests.unit.sql_guard.corpus import CORPUS, Attack, Kind

pytestmark = [pytest.mark.loopback, pytest.mark.store, pytest.mark.asyncio(loop_scope="module")]

_LIMITS = QueryLimits(run_seconds=10, result_rows=10_000, threads=1)
_OWN = [attack for attack in CORPUS if attack.kind is Kind.OWN]
_REFUSED = [attack for attack in CORPUS if attack.kind is not Kind.OWN]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory, spool: Path) -> AsyncIterator[tuple[Service, Service]]:
    """The author with somebody beside him, and alone."""
    directory = tmp_path_factory.mktemp("warehouse")
    with opened(directory):
        async with contextlib.AsyncExitStack() as stack:
            found = [
                await stack.enter_async_context(
                    serving(parse_dsn(f"chdb://{directory}", default_database=database), None, limits=_LIMITS)  # type: ignore[arg-type]  # nothing is inserted
                )
                for database in (SHARED, ALONE)
            ]
            yield found[0], found[1]


async def _asked(service: Service, attack: Attack, answer_format: SqlFormat) -> str:
    """Return everything that the author sees."""
    try:
        answer = await service.ask(attack.sql, attack.parameters, organization_id=OWN, answer_format=answer_format)
    except TrellisError as error:
        return f"{error.reason} {error.message}"
    return f"{answer.columns} {answer.totals.row_count} {sorted(answer.body.splitlines())!r}"


@pytest.mark.parametrize("attack", _OWN, ids=str)
async def test_what_runs_shows_its_author_his_own_rows_alone(services: tuple[Service, Service], attack: Attack) -> None:
    shared, alone = [await _asked(service, attack, SqlFormat.JSON_ROWS) for service in services]
    assert shared == alone
    assert not any(canary in shared for canary in CANARIES)
    assert "UNAVAILABLE" not in shared, "an engine's error that we have no word for"


@pytest.mark.parametrize("attack", _REFUSED, ids=str)
async def test_what_is_refused_reaches_no_engine(services: tuple[Service, Service], attack: Attack) -> None:
    with pytest.raises(SqlRefusedError) as refused:
        await services[0].ask(attack.sql, attack.parameters, organization_id=OWN)
    assert not any(canary in refused.value.message for canary in CANARIES)


async def test_a_runner_without_its_filter_is_found_out(services: tuple[Service, Service]) -> None:
    """The corpus would see it: an author who has the other one's name sees the other one's rows."""
    attack = next(attack for attack in _OWN if attack.sql.startswith("SELECT click_id FROM events --"))
    answer = await services[0].ask(attack.sql, organization_id="org_canary")
    assert any(canary in answer.body.decode() for canary in CANARIES)
