"""The attack corpus, against the guard, against each of its layers alone, and against guards broken on purpose."""

import pytest

from analytics_svc.sql_guard import SqlRefusedError, guard, tenant_schema
from tests.integration.sql_guard.layers import (
    Comparison,
    MergedFilterTable,
    UnfilteredTable,
    ask,
    ask_rewritten,
    broken,
    check_alone,
)
from tests.integration.sql_guard.warehouse import ALONE, OWN, SHARED, Warehouse
from tests.unit.sql_guard.corpus import CORPUS, Attack, Kind

pytestmark = pytest.mark.store

SCHEMAS = (tenant_schema(SHARED), tenant_schema(ALONE))
_RUNNING = [attack for attack in CORPUS if attack.kind is Kind.OWN]
_REFUSED = [attack for attack in CORPUS if attack.kind is not Kind.OWN]


@pytest.mark.parametrize("attack", _REFUSED, ids=str)
def test_an_attack_is_refused(attack: Attack) -> None:
    with pytest.raises(SqlRefusedError):
        guard(attack.sql, attack.parameters, organization_id=OWN, schema=tenant_schema())


@pytest.mark.parametrize("attack", _RUNNING, ids=str)
def test_what_runs_shows_its_author_his_own_rows_alone(warehouse: Warehouse, attack: Attack) -> None:
    assert ask(warehouse, attack.sql, attack.parameters).findings() == []


@pytest.mark.parametrize("attack", [attack for attack in CORPUS if attack.kind is Kind.FOREIGN], ids=str)
def test_the_allow_list_alone_refuses_what_names_something_foreign(attack: Attack) -> None:
    with pytest.raises(SqlRefusedError):
        check_alone(attack.sql, attack.parameters)


@pytest.mark.parametrize("attack", CORPUS, ids=str)
def test_the_rewriting_alone_shows_nothing_foreign(warehouse: Warehouse, attack: Attack) -> None:
    try:
        shared, alone = ask_rewritten(warehouse, attack.sql, attack.parameters, schemas=SCHEMAS)
    except SqlRefusedError:
        return
    findings = Comparison(shared, alone).findings()
    assert findings == [] or attack.sql in _TELL_OF_THE_SERVER, findings


_TELL_OF_THE_SERVER = frozenset(
    f"SELECT {call}"
    for call in ("queryID()", "initialQueryID()", "uptime()", "filesystemAvailable()", "connectionId()")
) | {"SELECT generateSerialID('x')", "SELECT generateRandomStructure(1)"}
"""Without the allow-list they differ from call to call; they hold no row of anybody."""


def test_the_corpus_has_every_group_and_finds_a_guard_that_filters_nothing(warehouse: Warehouse) -> None:
    leaks = _leaks(warehouse, UnfilteredTable)
    assert {"comments", "union to a base table", "precedence of the organisation's filter", "errors", "in"} <= {
        attack.group for attack in leaks
    }
    assert len(CORPUS) >= 400
    assert len(leaks) > 60


def test_the_corpus_finds_a_guard_whose_filter_the_engine_may_put_last(warehouse: Warehouse) -> None:
    """The reason for PREWHERE: the rows are right, and the errors quote somebody else's."""
    leaks = _leaks(warehouse, MergedFilterTable)
    assert leaks
    assert {attack.group for attack in leaks} == {"errors"}


def _leaks(warehouse: Warehouse, kind: type[UnfilteredTable | MergedFilterTable]) -> list[Attack]:
    schemas = (broken(kind, SHARED), broken(kind, ALONE))
    leaks = []
    for attack in _RUNNING:
        try:
            answers = ask_rewritten(warehouse, attack.sql, attack.parameters, schemas=schemas)
        except SqlRefusedError:
            continue
        if Comparison(*answers).findings():
            leaks.append(attack)
    return leaks
