"""The texts of statements. After a wanted change: delete the file in ``snapshots`` and run this twice."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from analytics_svc.compile import (
    Order,
    Question,
    compile_campaign_days,
    compile_campaign_minutes,
    compile_currencies,
    compile_question,
)
from analytics_svc.dimension import DIMENSIONS, Dimension, dimension_of
from analytics_svc.lifetime import compile_version
from analytics_svc.metric import METRICS, Metric
from analytics_svc.slice import DimensionFilter, Slice
from analytics_svc.statement import Statement
from analytics_svc.steps import Granularity, steps_of
from rule_language.predicate import Condition, Operator

SNAPSHOTS = Path(__file__).parent / "snapshots"
START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
NASTY = "x'); DROP TABLE events --"
WHOLE_DAYS = Slice("org_acmecorp", START, END)
RAGGED = Slice("org_acmecorp", START + timedelta(minutes=90), END + timedelta(seconds=1), "Europe/Berlin")
FILTERED = Slice(
    "org_acmecorp",
    START,
    END,
    filter=Condition("param.zone", Operator.EQUALS, (NASTY,)),
    dimension_filters=(DimensionFilter(DIMENSIONS["campaign_id"], (NASTY, "")),),
)


def metrics(*names: str) -> tuple[Metric, ...]:
    return tuple(METRICS[name] for name in names)


def dimension(name: str) -> Dimension:
    found = dimension_of(name, path="", violations=[])
    assert found is not None
    return found


def steps(part: Slice, granularity: Granularity) -> tuple[datetime, ...]:
    return steps_of(part.start_time, part.end_time, part.zone, granularity)


STATEMENTS: dict[str, Statement] = {
    "timeseries_of_whole_days": compile_question(
        Question(WHOLE_DAYS, metrics("clicks", "unique_users"), "USD", steps=steps(WHOLE_DAYS, Granularity.DAY))
    ).statement,
    "timeseries_of_ragged_days": compile_question(
        Question(RAGGED, metrics("revenue", "unique_users"), "USD", steps=steps(RAGGED, Granularity.DAY))
    ).statement,
    "timeseries_of_a_parameter": compile_question(
        Question(
            WHOLE_DAYS,
            metrics("clicks"),
            "USD",
            (dimension(f"param.{NASTY}"),),
            steps(WHOLE_DAYS, Granularity.WEEK),
            rows=((NASTY,), ("",)),
        )
    ).statement,
    "breakdown_by_country": compile_question(
        Question(RAGGED, tuple(METRICS.values())[:15], "USD", (dimension("country"),), order=Order(1, False, 101))
    ).statement,
    "breakdown_by_two": compile_question(
        Question(
            FILTERED,
            metrics("roas", "bot_events"),
            "EUR",
            (dimension("hour"), dimension("header.X-Test")),
            rows=(("03", NASTY), ("04", "")),
            order=Order(1, True, 11, 30),
        )
    ).statement,
    "totals_of_everything": compile_question(Question(WHOLE_DAYS, tuple(METRICS.values()), "USD")).statement,
    "currencies_of_ragged_days": compile_currencies(RAGGED).statement,
    "campaign_days": compile_campaign_days("org_acmecorp", NASTY),
    "campaign_minutes": compile_campaign_minutes("org_acmecorp", NASTY, (date(2026, 3, 1), date(2026, 3, 9))),
    "version": compile_version("org_acmecorp", (date(2026, 3, 1), date(2026, 3, 9)), since=START),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_text_of(name: str) -> None:
    path, text = SNAPSHOTS / f"{name}.sql", f"{STATEMENTS[name].sql}\n"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path.name} was not there: it was written, look at it")
    assert text == path.read_text()


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_table_is_read_of_one_organization_and_values_never_become_text(name: str) -> None:
    statement = STATEMENTS[name]
    tables = re.findall(r"FROM [a-z]", statement.sql)
    own = re.findall(r"(?:organization_id = |organization_ids, |IN \('', ){organization:String}", statement.sql)
    assert len(own) == len(tables) > 0
    assert len(re.findall(r"PREWHERE organization_id = {organization:String}", statement.sql)) == len(
        re.findall(r"FROM (?:events|rollup_)", statement.sql)
    )
    assert statement.parameters["organization"] == "org_acmecorp"
    for secret in ("org_acmecorp", NASTY, "DROP"):
        assert secret not in statement.sql


def test_there_are_no_snapshots_of_nothing() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.sql")} == set(STATEMENTS)


def test_the_same_question_has_the_same_text_and_values() -> None:
    question = Question(RAGGED, metrics("clicks"), "USD", (dimension("country"),))
    assert compile_question(question) == compile_question(question)
