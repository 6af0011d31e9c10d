"""From encoded batches to rows of ``events``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics_svc.convert.feed import arrival_format, arrivals_from_pb
from analytics_svc.mappings.mapping import ActiveMapping
from analytics_svc.projection import readings, scratch
from analytics_svc.projection import row_binary as rb
from analytics_svc.projection.arrival import ARRIVAL_FIELDS, Arrival
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.read import read_event, unreadable
from analytics_svc.projection.row import COLUMNS, encode
from analytics_svc.projection.statements import DISTINCT, OTHERS, PICK, PUT
from svc_runtime.clickhouse import Dsn
from svc_runtime.logs import get_logger
from svc_runtime.varint import encode_varint

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Mappings = Mapping[str, Sequence[ActiveMapping]]
SMALL_BYTES = 400_000
"""About 400 clicks."""
_SETTINGS = {"insert_deduplicate": "0", "join_algorithm": "hash", "join_use_nulls": "0"}
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Derived:
    """What a derivation did."""

    event_count: int
    """Events in the batches."""
    row_count: int
    """Rows that it wrote: less where an id came twice."""
    unreadable_count: int = 0
    """Rows of events whose reading failed: marked, with what the gateway said of them."""


class Deriver:
    """Derives rows by means of tables in memory whose names begin with ``prefix``: one client at a time uses it.

    Batches of less than ``small_bytes`` together are read event by event: that takes less than the thirty statements of
    the engine's way.
    """

    def __init__(self, dsn: Dsn, enricher: Enricher, *, prefix: str, small_bytes: int = SMALL_BYTES) -> None:
        self._dsn = dsn
        self._enricher = enricher
        self._prefix = prefix
        self._small_bytes = small_bytes

    def prepare(self, client: "Client") -> None:
        """Make the tables, empty. Blocks; raises the driver's errors, as do the others."""
        for statement in scratch.create(self._prefix):
            client.command(statement)

    def derive(self, client: "Client", batches: Sequence[bytes], target: str, mappings: Mappings) -> Derived:
        """Write the rows of encoded ``EventBatch`` messages to ``target``, a table with the columns of ``events``.

        One row for each id, in no order, not settled yet. ``mappings`` are those that hold, by organisation, the oldest
        first. Where the engine or an enrichment stumbles over an event this raises: ``derive_one_by_one`` does not.
        """
        if sum(map(len, batches)) < self._small_bytes:
            return self.derive_one_by_one(client, batches, target, mappings)
        self._truncate(client)
        event_count, id_count = self._take_in(client, batches)
        if id_count != event_count:
            return self.derive_one_by_one(client, batches, target, mappings)
        self._read(client, "shapes", readings.shape)
        self._read(client, "kinds", readings.kind)
        mapped = [organization_id for organization_id, own in mappings.items() if own]
        client.command(self._text(PICK, mapped), settings=_SETTINGS)
        self._read(client, "agents", readings.agent_of(self._enricher))
        self._read(client, "places", readings.place_of(self._enricher))
        self._read(client, "languages", readings.language)
        self._read(client, "traffics", readings.traffic_of(mappings), mapped)
        self._read(client, "amounts", readings.amount)
        self._read(client, "times", readings.client_time)
        client.command(self._text(PUT).replace("{target}", target), settings=_SETTINGS)
        others = client.raw_query(self._text(OTHERS), fmt="ProtobufList", settings=arrival_format(self._dsn))
        unreadable_count = self._put(client, arrivals_from_pb([_without_length(others)]), target, mappings)
        self._truncate(client)  # a large batch takes as much memory as the rows that are made of it
        return Derived(event_count, event_count, unreadable_count)

    def derive_one_by_one(self, client: "Client", batches: Sequence[bytes], target: str, mappings: Mappings) -> Derived:
        """Do the same without the engine's help, ten times as slow: an event that cannot be read spoils no other."""
        arrivals = arrivals_from_pb(batches)
        first = {arrival.event_id: arrival for arrival in reversed(arrivals)}
        unreadable_count = self._put(client, first.values(), target, mappings)
        return Derived(len(arrivals), len(first), unreadable_count)

    def _truncate(self, client: "Client") -> None:
        for statement in scratch.truncate(self._prefix):
            client.command(statement)

    def _take_in(self, client: "Client", batches: Sequence[bytes]) -> tuple[int, int]:
        """Let the engine take the events apart; return how many there are, and how many different ids."""
        client.raw_insert(
            f"{self._prefix}_arrivals",
            column_names=ARRIVAL_FIELDS,
            insert_block=b"".join((encode_varint(sum(map(len, batches))), *batches)),
            fmt="ProtobufList",
            settings=arrival_format(self._dsn),
        )
        counts = client.query(f"SELECT count(), uniqExact(event_id) FROM {self._prefix}_arrivals").result_rows[0]  # noqa: S608 - our own text
        return counts[0], counts[1]

    def _read(
        self, client: "Client", table: str, read: Callable[[rb.Reader], bytes], mapped: Sequence[str] = ()
    ) -> None:
        """Fill a table with what each different thing of the batch reads as."""
        answer = rb.Reader(client.raw_query(self._text(DISTINCT[table], mapped), fmt="RowBinary"))
        rows = []
        while not answer.is_over:
            rows.append(read(answer))
        if rows:
            client.raw_insert(f"{self._prefix}_{table}", insert_block=b"".join(rows), fmt="RowBinary")

    def _put(self, client: "Client", arrivals: Iterable[Arrival], target: str, mappings: Mappings) -> int:
        """Write the rows of events, each read on its own; return how many could not be read."""
        unreadable_count = 0
        rows = []
        for arrival in arrivals:
            try:
                rows.append(encode(read_event(arrival, mappings.get(arrival.organization_id, ()), self._enricher)))
            except Exception as error:  # noqa: BLE001 - whatever an event does to a rule, it stops nobody else's
                _log.warning("an event cannot be read", event_id=arrival.event_id, error=type(error).__name__)
                rows.append(encode(unreadable(arrival)))
                unreadable_count += 1
        if rows:
            client.raw_insert(target, column_names=COLUMNS, insert_block=b"".join(rows), fmt="RowBinary")
        return unreadable_count

    def _text(self, statement: str, mapped: Sequence[str] = ()) -> str:
        names = ", ".join(map(scratch.quoted, mapped)) or "''"
        return statement.replace("{prefix}", self._prefix).replace("{mapped}", f"({names})")


def _without_length(answer: bytes) -> bytes:
    """Return the ``EventBatch`` in an answer of the engine as ``ProtobufList``."""
    reader = rb.Reader(answer)
    return reader.take(reader.varint()) if answer else b""
