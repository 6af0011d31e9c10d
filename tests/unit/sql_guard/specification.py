"""The SQL of the specification's documents, byte for byte as it stands there: ``tests/data/specification_sql``."""

from pathlib import Path

DIRECTORY = Path(__file__).parents[2] / "data" / "specification_sql"
NAMES = ("time_travel", "journeys", "fraud", "prediction", "journey_of_one", "realtime", "suspicious")
"""Four of the vision, and three of the examples: the journey of one, the realtime page's, the fraud alert's."""
WRITES = ("conversion_update", "retroactive_update")
"""What the documents do themselves, and organisations by other calls."""


def text_of(name: str) -> str:
    """Return a statement."""
    return (DIRECTORY / f"{name}.sql").read_text(encoding="utf-8")


STATEMENTS = {name.replace("_", " "): text_of(name) for name in NAMES}


def parameters(sql: str) -> list[object]:
    """Return a value for each `?` of a statement: the organisation that the document's code would pass."""
    return ["org_somebody_else"] * sql.count("?")
