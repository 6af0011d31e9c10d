"""The two ways to run a tenant's statement into a file: in the engine in this process, and on a server."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson
import urllib3
from clickhouse_connect.driver.binding import bind_query, quote_identifier

from analytics_svc.sql_answer import AnswerColumn, Totals
from analytics_svc.store.connect import open_client
from analytics_svc.store.killer import QUERY_ID
from svc_runtime.clickhouse import Dsn

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TENANT_ROLE = "trellis_tenant_{organization_id}"
"""The role of a tenant on a server whose reader is not the service itself: server_policies.sql."""


class Session(Protocol):
    """A connection. For one thread, and no more use after an error. Raises the driver's errors."""

    def run(
        self,
        sql: str,
        parameters: Mapping[str, object],
        settings: Mapping[str, str],
        engine_format: str,
        path: Path,
        organization_id: str,
    ) -> Totals:
        """Write the answer to an empty file. Blocks."""
        ...

    def describe(
        self, sql: str, parameters: Mapping[str, object], settings: Mapping[str, str], organization_id: str
    ) -> tuple[AnswerColumn, ...]:
        """Return the columns that the answer would have. Blocks."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class EmbeddedSession:
    """chDB. It has no users: whose rows are read, the statement's text alone says."""

    def __init__(self, dsn: Dsn) -> None:
        """Connect. Blocks."""
        import chdb  # servers' images are without it

        # The path as the driver spells it: the engine compares text.
        self._connection = chdb.connect(  # type: ignore[no-untyped-call]  # the library has no types there
            str(Path(dsn.path).resolve())
        )
        self._connection.query(f"USE {quote_identifier(dsn.database)}")

    def run(
        self,
        sql: str,
        parameters: Mapping[str, object],
        settings: Mapping[str, str],
        engine_format: str,
        path: Path,
        organization_id: str,  # noqa: ARG002 - there are no roles here
    ) -> Totals:
        """See ``Session.run``."""
        where = f"INTO OUTFILE {_quoted(str(path))} APPEND {_clause(settings)} FORMAT {engine_format}"
        result = self._query(f"{sql} {where}", parameters, engine_format)
        return Totals(result.rows_read(), result.storage_rows_read(), result.storage_bytes_read())

    def describe(
        self,
        sql: str,
        parameters: Mapping[str, object],
        settings: Mapping[str, str],
        organization_id: str,  # noqa: ARG002 - there are no roles here
    ) -> tuple[AnswerColumn, ...]:
        """See ``Session.describe``."""
        result = self._query(f"DESCRIBE ({sql}) {_clause(settings)}", parameters, "JSONCompactEachRow")
        return _described(result.bytes())

    def close(self) -> None:
        """See ``Session.close``."""
        self._connection.close()

    def _query(self, sql: str, parameters: Mapping[str, object], engine_format: str) -> Any:
        text, values = bind_query(sql, dict(parameters), None) if parameters else (sql, {})
        return self._connection.query(
            text, engine_format, params={name.removeprefix("param_"): value for name, value in values.items()}
        )


class ServerSession:
    """A server over HTTP. It sends an answer when it is whole, and an error as an error."""

    def __init__(self, dsn: Dsn, *, has_roles: bool) -> None:
        """Connect. Blocks. ``has_roles``: each organisation's statements run in a role of its own."""
        self._client: Client = open_client(dsn)
        self._has_roles = has_roles

    def run(
        self,
        sql: str,
        parameters: Mapping[str, object],
        settings: Mapping[str, str],
        engine_format: str,
        path: Path,
        organization_id: str,
    ) -> Totals:
        """See ``Session.run``."""
        try:
            stream: Any = self._client.raw_stream(
                sql, dict(parameters), settings=self._settings(settings, organization_id), fmt=engine_format
            )
            with stream, path.open("wb") as file:
                shutil.copyfileobj(stream, file, 1024 * 1024)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionError(type(error).__name__) from None
        summary = orjson.loads(stream.headers.get("X-ClickHouse-Summary", "{}"))
        return Totals(
            *(int(summary.get(name, 0)) for name in ("result_rows", "read_rows", "read_bytes")),
        )

    def describe(
        self, sql: str, parameters: Mapping[str, object], settings: Mapping[str, str], organization_id: str
    ) -> tuple[AnswerColumn, ...]:
        """See ``Session.describe``."""
        return _described(
            self._client.raw_query(
                f"DESCRIBE ({sql})",
                dict(parameters),
                settings=self._settings(settings, organization_id),
                fmt="JSONCompactEachRow",
            )
        )

    def close(self) -> None:
        """See ``Session.close``."""
        self._client.close()

    def _settings(self, settings: Mapping[str, str], organization_id: str) -> dict[str, str]:
        own = {"query_id": settings[QUERY_ID]}
        if self._has_roles:
            # The reader's quota is each organisation's own: by this key.
            own |= {"role": TENANT_ROLE.format(organization_id=organization_id), "quota_key": organization_id}
        return {**settings, **own}


def _described(answer: bytes) -> tuple[AnswerColumn, ...]:
    rows = map(orjson.loads, answer.splitlines())
    return tuple(AnswerColumn(row[0], row[1]) for row in rows)


def _clause(settings: Mapping[str, str]) -> str:
    return "SETTINGS " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
