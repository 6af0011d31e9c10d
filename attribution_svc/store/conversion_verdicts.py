"""What the reading is yet to be told of conversions, in PostgreSQL."""

from collections.abc import Sequence

from attribution_svc.conversions.verdicts import Verdict
from attribution_svc.store.conversion_rows import share_of
from svc_runtime.postgres import Database

_UNSENT = "SELECT * FROM conversion_verdicts WHERE revision > sent_revision ORDER BY revision LIMIT $1"
_SENT = """
UPDATE conversion_verdicts v SET sent_revision = sent.revision
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS sent (organization_id, event_id, revision)
WHERE v.organization_id = sent.organization_id AND v.event_id = sent.event_id AND v.sent_revision < sent.revision
"""


class PostgresVerdictOutbox:
    """A ``VerdictOutbox`` on the database of the conversions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unsent_verdicts(self, *, limit: int) -> list[Verdict]:
        """See ``VerdictOutbox.unsent_verdicts``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_UNSENT, limit)
        return [
            Verdict(row["organization_id"], row["event_id"], row["event_time"], row["revision"], share_of(row))
            for row in rows
        ]

    async def verdicts_sent(self, verdicts: Sequence[Verdict]) -> None:
        """See ``VerdictOutbox.verdicts_sent``."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SENT,
                [verdict.organization_id for verdict in verdicts],
                [verdict.event_id for verdict in verdicts],
                [verdict.revision for verdict in verdicts],
            )
