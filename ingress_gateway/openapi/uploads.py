"""Conversions from a file."""

from ingress_gateway.openapi.conversions import TAG
from ingress_gateway.openapi.parts import Json, api, json_answer, listing, number, query, record, ref, text

_EVENT_ID = "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f"
_FLAG: Json = {"type": "boolean"}
_TEXT: Json = {"type": "string"}
_EXAMPLE = "click_id,status,payout,currency,order_id\nfb_123abc,sale,12.50,USD,ORD-1\nfb_124abc,sale,much,USD,ORD-2\n"

SCHEMAS: Json = {
    "Upload": record(
        "What became of a file.",
        {
            "upload_id": text("The name under which its rows are told from those of other files."),
            "dry_run": _FLAG | {"description": "Whether nothing was to be stored."},
            "encoding": text("How it was read: `utf-8`, `utf-8-sig`, `utf-16` or `cp1252`."),
            "delimiter": text("What stands between its values."),
            "columns": listing(_TEXT, "The names in its first line."),
            "rows": number("Rows, the header and empty lines not counted."),
            "stored": number("Rows that are on disk as events; 0 in a dry run."),
            "refused": number("Rows with an error."),
            "items": listing(ref("UploadedRow"), "One for each row, in the order of the file."),
        },
    ),
    "UploadedRow": record(
        "What became of a row.",
        {
            "row": number("Its number, from 1."),
            "line": number("The line of the file where it ends, from 1."),
            "outcome": text("What became of it; `valid` in a dry run.", enum=["stored", "valid", "refused"]),
            "event_id": text("Our id of the event; there when it was stored.", format="uuid"),
            "errors": listing(ref("Violation"), "Everything that is wrong with it, by column; there when refused."),
        },
        optional=("event_id", "errors"),
    ),
}

PATHS: Json = {
    "/api/v1/conversions:upload": {
        "post": api(
            "conversions:write",
            "upload_conversions",
            TAG,
            "Upload conversions",
            "A CSV file, plain or gzipped, as the body or as the file of a form; at most 50 MiB and 100,000 rows. The "
            "first line names the columns, by the names that postbacks have; others are kept. Every good row becomes "
            "an event as a postback does, and is on disk when the answer comes; the same file again adds nothing.",
            parameters=[
                query("dry_run", _FLAG, "`true` to hear what would become of every row, and store nothing."),
                query(
                    "upload_id",
                    _TEXT,
                    "A name of your own for the file, at most 128 characters, in place of a digest of its bytes: of a "
                    "corrected file under the same name only what was corrected is added.",
                ),
            ],
            body={
                "required": True,
                "content": {
                    "text/csv": {"schema": _TEXT, "example": _EXAMPLE},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {"file": {"type": "string", "contentMediaType": "text/csv"}},
                        }
                    },
                },
            },
            answers={
                "200": json_answer(
                    "What became of every row.",
                    ref("Upload"),
                    {
                        "upload_id": "november",
                        "dry_run": False,
                        "encoding": "utf-8",
                        "delimiter": ",",
                        "columns": ["click_id", "status", "payout", "currency", "order_id"],
                        "rows": 2,
                        "stored": 1,
                        "refused": 1,
                        "items": [
                            {"row": 1, "line": 2, "outcome": "stored", "event_id": _EVENT_ID},
                            {
                                "row": 2,
                                "line": 3,
                                "outcome": "refused",
                                "errors": [
                                    {
                                        "field": "payout",
                                        "description": "'much' is no amount, or more than 999999999999.999999",
                                    }
                                ],
                            },
                        ],
                    },
                )
            },
            problems=("RateLimited",),
        )
    }
}
