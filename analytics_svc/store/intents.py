"""What is about to be changed in ``events``, kept before the change: after a crash these days are put in order."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_COLUMNS = ["intent_id", "is_done", "organization_ids", "days", "is_of_claim"]
_TYPES = ["UUID", "UInt8", "Array(String)", "Array(Date)", "UInt8"]
# A replicated table would drop a block that it has seen before.
_SETTINGS = {"insert_deduplicate": "0"}


@dataclass(frozen=True, slots=True)
class Intent:
    """Organisations and UTC days whose rows may be changed."""

    intent_id: uuid.UUID
    organization_ids: Sequence[str]
    days: Sequence[date]
    is_of_claim: bool = False
    """Rows change hands, which will be done again: only what counts them must be put in order."""


def open_intent(
    client: "Client", organization_ids: Collection[str], days: Collection[date], *, is_of_claim: bool = False
) -> Intent:
    """Keep what is about to be changed; blocks until it is on disk, as do the others."""
    intent = Intent(uuid.uuid4(), sorted(organization_ids), sorted(days), is_of_claim)
    _insert(client, intent, is_done=False)
    return intent


def close_intent(client: "Client", intent: Intent) -> None:
    """Say that what was changed is in order."""
    _insert(client, intent, is_done=True)


def open_intents(client: "Client") -> list[Intent]:
    """Return what somebody was about to change and never finished."""
    rows = client.query(
        "SELECT intent_id, any(organization_ids), any(days), any(is_of_claim) = 1 FROM intents"
        " GROUP BY intent_id HAVING max(is_done) = 0"
    ).result_rows
    return [Intent(row[0], row[1], row[2], bool(row[3])) for row in rows]


def _insert(client: "Client", intent: Intent, *, is_done: bool) -> None:
    row = [intent.intent_id, int(is_done), list(intent.organization_ids), list(intent.days), int(intent.is_of_claim)]
    client.insert("intents", [row], column_names=_COLUMNS, column_type_names=_TYPES, settings=_SETTINGS)
