"""An organisation's own SQL."""

from ingress_gateway.openapi.parts import (
    Json,
    answer,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    number,
    record,
    ref,
    text,
    wish,
)

TAG = "SQL"
_SQL = "SELECT source, count(*) AS clicks FROM events WHERE event_time >= now() - INTERVAL 1 DAY GROUP BY source"
_COLUMN = record("A column.", {"name": text("Its name."), "type": text("ClickHouse's type of it.")})
_EXAMPLE: Json = {
    "query_id": "5f0c2b9e-6c1b-4a57-9a3e-0c5f8e1d2a34",
    "watermark": "2026-11-03T10:00:07.120Z",
    "columns": [{"name": "source", "type": "LowCardinality(String)"}, {"name": "clicks", "type": "UInt64"}],
    "rows": [["facebook", "5120"], ["google", "871"]],
    "row_count": 2,
    "rows_read": 8192,
    "elapsed_ms": 12.4,
}
_BYTES: Json = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}

SCHEMAS: Json = {
    "QueryAnswer": record(
        "What a statement is answered with.",
        {
            "query_id": text("Id of the query, for support."),
            "watermark": instant("Everything received before this instant is in the answer.", is_nullable=True),
            "columns": listing(_COLUMN, "In their order."),
            "rows": listing(
                {"type": "array", "items": {}},
                "Each row a list, in the order of the columns. Integers of 64 bits and more, decimals and times "
                "(RFC 3339, UTC) are texts; NaN and infinity are null.",
            ),
            "row_count": number("How many rows there are."),
            "rows_read": number("Rows that the store read, rounded up to whole blocks of 8,192."),
            "elapsed_ms": {"type": "number", "description": "From the request until the answer was whole."},
        },
    ),
    "QuerySchema": record(
        "The tables that a statement may name.",
        {
            "tables": listing(
                record(
                    "A table.",
                    {
                        "name": text("Its name."),
                        "description": text("What a row is."),
                        "columns": listing(_COLUMN, "Its columns."),
                    },
                ),
                "Every table.",
            )
        },
    ),
}
_WISH = wish(
    "A statement and its values.",
    {
        "sql": text("One `SELECT` in ClickHouse's SQL, at most 64 KiB. What it may say: docs/sql.md."),
        "parameters": {
            "description": "A list with the values of `?`, in their order, or an object with those of `{name:Type}`. "
            "A whole number beyond 2^53 is sent as a text.",
            "anyOf": [{"type": "array", "items": {}}, {"type": "object", "additionalProperties": True}],
        },
    },
    "sql",
)

PATHS: Json = {
    "/api/v1/query": {
        "post": api(
            "analytics:read",
            "query",
            TAG,
            "Run SQL",
            "Runs a statement over the events of the key's organisation, whatever the statement says of "
            "`organization_id`. `Accept` chooses JSON, CSV, an Arrow stream or Parquet. Nothing is sent before the "
            "query is over. An answer that breaks off is not whole: its connection ends without the last chunk. To "
            "close the connection ends the query.",
            body=json_body(_WISH, {"sql": _SQL, "parameters": []}),
            answers={
                "200": answer(
                    "The answer.",
                    {
                        "application/json": {"schema": ref("QueryAnswer"), "example": _EXAMPLE},
                        "text/csv": {"schema": {"type": "string"}, "example": "source,clicks\r\nfacebook,5120\r\n"},
                        "application/vnd.apache.arrow.stream": _BYTES,
                        "application/vnd.apache.parquet": _BYTES,
                    },
                    "X-Trellis-Query-Id",
                    "X-Trellis-Watermark",
                )
            },
            problems=("SqlRefused", "NotAcceptable", "QueryLimit", "RateLimited"),
        )
    },
    "/api/v1/query/schema": {
        "get": api(
            "analytics:read",
            "query_schema",
            TAG,
            "List tables",
            "The tables and columns that a statement may name.",
            answers={
                "200": json_answer(
                    "The tables.",
                    ref("QuerySchema"),
                    {
                        "tables": [
                            {
                                "name": "events",
                                "description": "An event: a click, a page view, a conversion.",
                                "columns": [{"name": "source", "type": "LowCardinality(String)"}],
                            }
                        ]
                    },
                )
            },
        )
    },
}
