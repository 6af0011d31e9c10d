"""A report of attribution as a table."""

import csv
import io

import orjson

from ingress_gateway.routes.analytics.numbers import amount
from trellis.attribution.v1 import model_service_pb2 as pb


def table_of(answer: pb.QueryAttributionResponse) -> bytes:
    """Write a line for each row, then for what is left. A model that is there twice is told by its place."""
    names = [model.choice.model for model in answer.models]
    labels = [name if names.count(name) == 1 else f"{name}_{at + 1}" for at, name in enumerate(names)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    of_models = [f"{label}_{what}" for label in labels for what in ("conversions", "revenue")]
    assisted = ("last_touch_conversions", "assisted_conversions", "assisted_revenue")
    writer.writerow(["row", answer.dimension, *of_models, *assisted])
    for kind, row in (
        *(("value", row) for row in answer.rows),
        *((("rest", answer.rest),) if answer.HasField("rest") else ()),
        ("unattributed", pb.AttributionRow(credits=answer.nobody)),
    ):
        credited = [(_decimal(each.conversion_count), _amount(each.value_micros)) for each in row.credits]
        numbers = [number for pair in credited for number in pair]
        counted = (row.last_touch_count, row.assisted_count, _amount(row.assisted_value_micros))
        writer.writerow([kind, _harmless(row.value), *numbers, *counted])
    return text.getvalue().encode()


def _harmless(value: str) -> str:
    """Keep a spreadsheet from taking what a stranger sent for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _decimal(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _amount(micros: int) -> str:
    return orjson.dumps(amount(micros)).decode()
