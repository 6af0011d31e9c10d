"""What a preview says is what comes to be."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from analytics_svc.mappings.preview import MappingPreview, ReadingPreviewer
from analytics_svc.projection.enricher import Enricher
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn
from tests.integration.analytics.mapping_cases import arrivals, load, mappings, rows
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

ENRICHER = Enricher()
ORGANIZATIONS = 16
EVENTS = 60


@pytest.fixture(scope="module")
def engine_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dsn, "Client"]]:
    """An empty reading."""
    with reading(tmp_path_factory.mktemp("previews")) as found:
        yield found


@pytest.fixture
def client(engine_here: tuple[Dsn, "Client"]) -> "Client":
    """Its client."""
    return engine_here[1]


@pytest.fixture
async def previewer(engine_here: tuple[Dsn, "Client"]) -> AsyncIterator[ReadingPreviewer]:
    """Over the reading."""
    async with ClickHouseReadingReader.open(engine_here[0], thread_count=1) as reader:
        yield ReadingPreviewer(reader, ENRICHER)


def differences(before: dict[UUID, dict[str, Any]], after: dict[UUID, dict[str, Any]]) -> dict[UUID, set[str]]:
    """Return the columns that differ, by event, but for those that say which mappings there are."""
    assert before.keys() == after.keys()
    passed_over = {"mapping_versions", "own", "session_id", "gateway_click_id"}
    changed = {
        event_id: {name for name in row if row[name] != after[event_id][name]} - passed_over
        for event_id, row in before.items()
    }
    return {event_id: names for event_id, names in changed.items() if names}


@pytest.mark.parametrize("seed", range(3))
async def test_a_preview_counts_what_applying_changes(client: "Client", previewer: ReadingPreviewer, seed: int) -> None:
    dice = random.Random(seed)
    names = [f"org_{number}" for number in range(ORGANIZATIONS)]
    cases = {name: mappings(dice) for name in names}
    events = [event for name in names for event in arrivals(dice, name, EVENTS)]
    load(client, events, {name: case[0] for name, case in cases.items()})
    before = {name: rows(client, name) for name in names}
    previews = {name: await previewer.preview(name, *case) for name, case in cases.items()}
    load(client, events, {name: case[1] for name, case in cases.items()})
    wrong = []
    for name, preview in previews.items():
        after = rows(client, name)
        label = next(mapping.label for mapping in cases[name][1] if mapping not in cases[name][0])
        problem = compare(preview, before[name], after, label)
        if problem:
            wrong.append((name, cases[name], problem))
    assert not wrong, f"{len(wrong)} of {len(names)}: {wrong[0]}"


def compare(
    preview: MappingPreview, before: dict[UUID, dict[str, Any]], after: dict[UUID, dict[str, Any]], label: str
) -> str:
    """Say where a preview and what came to be differ."""
    changed = differences(before, after)
    matched_months = Counter(f"{row['event_time']:%Y-%m}" for row in after.values() if label in row["mapping_versions"])
    changed_months = Counter(f"{after[event_id]['event_time']:%Y-%m}" for event_id in changed)
    told_matched = {month.month: month.matched_count for month in preview.months if month.matched_count}
    told_changed = {month.month: month.changed_count for month in preview.months if month.changed_count}
    if told_matched != matched_months:
        return f"matched {told_matched} and not {matched_months}"
    if told_changed != changed_months:
        return f"changed {told_changed} and not {changed_months}: {changed}"
    return ""
