"""What settled rows must be, written plainly: all rows at once, sorted, one after the other."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]
NIL = UUID(int=0)
GAP = timedelta(minutes=30)
TRAFFIC = (
    "source", "medium", "channel", "campaign", "campaign_id", "campaign_version", "rule_id",
    "destination_id", "source_campaign_id", "term", "content", "placement",
)  # fmt: skip
PLACE = (
    "country", "region", "city", "asn", "device_type", "device", "os", "os_version", "browser", "browser_version",
    "language", "is_bot", "bot_reasons", "fraud_score",
)  # fmt: skip
_MASK = (1 << 64) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def settled(rows: Iterable[Row]) -> dict[UUID, dict[str, Any]]:
    """Return every row as it must be in the end, by event id."""
    done = {row["event_id"]: _without_server_marks(row) for row in rows}
    touches = {event_id: _touch(row, done.values()) for event_id, row in done.items()}
    _give_sessions([row for event_id, row in done.items() if touches[event_id] is None])
    for event_id, click in touches.items():
        if click is not None:
            _take(done[event_id], done[click])
    return done


def session_id(organization_id: str, user_id: str, start: datetime) -> str:
    """Return the id of the session that began then."""
    half_hour = (start - _EPOCH) // timedelta(minutes=30)
    return f"s{siphash(f'{organization_id}/{half_hour}/{user_id}'.encode()):016x}"


def is_conversion(row: Row) -> bool:
    """Tell whether a row may go back to a click."""
    return bool(row["is_conversion"] or row["conversion_event"]) and row["event_type"] != "click"


def _without_server_marks(row: Row) -> dict[str, Any]:
    done = {**row, "session_id": "", "touch_event_id": NIL, "touch_time": None}
    is_server = row["bot_reasons"] and set(row["bot_reasons"]) <= {"library_client", "empty_user_agent"}
    if row["is_bot"] and is_server and is_conversion(row) and row["route"] in ("postback", "rpc", "events", "batch"):
        done.update(is_bot=0, fraud_score=0.0)
    return done


def _touch(row: Row, rows: Iterable[Row]) -> UUID | None:
    if not is_conversion(row):
        return None
    at = min(row["event_time"], row["conversion_time"] or row["event_time"])
    for reference in filter(None, row["references"]):
        clicks = [
            other
            for other in rows
            if other["event_type"] == "click"
            and other["organization_id"] == row["organization_id"]
            and reference in (other["click_id"], other["external_click_id"])
        ]
        if not clicks:
            continue
        before = [click for click in clicks if click["event_time"] <= at]
        time = max(click["event_time"] for click in before) if before else min(click["event_time"] for click in clicks)
        ids = [click["event_id"] for click in clicks if click["event_time"] == time]
        return UUID(str(min(ids, key=str)))
    return None


def _give_sessions(rows: list[dict[str, Any]]) -> None:
    visitor, current, last = None, "", _EPOCH
    for row in sorted(rows, key=lambda row: (row["organization_id"], row["user_id"], row["event_time"])):
        if not row["user_id"]:
            continue
        own, time = (row["organization_id"], row["user_id"]), row["event_time"]
        if own != visitor or time - last > GAP:
            current = session_id(*own, time)
        row["session_id"] = current
        visitor, last = own, time


def _take(row: dict[str, Any], click: Row) -> None:
    row.update(touch_event_id=click["event_id"], touch_time=click["event_time"], session_id=click["session_id"])
    is_postback = row["route"] == "postback"
    if is_postback or not row["user_id"]:
        row["user_id"] = click["user_id"]
    if is_postback or row["traffic_rule"] in ("direct", ""):
        row.update({name: click[name] for name in TRAFFIC}, traffic_rule="click")
    if is_postback or row["route"] == "rpc":
        row.update({name: click[name] for name in PLACE})


def siphash(data: bytes) -> int:
    """Return SipHash-2-4 of ``data`` under the key 0."""
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = (v[0] + v[1]) & _MASK
        v[1] = _rotated(v[1], 13) ^ v[0]
        v[0] = _rotated(v[0], 32)
        v[2] = (v[2] + v[3]) & _MASK
        v[3] = _rotated(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & _MASK
        v[3] = _rotated(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & _MASK
        v[1] = _rotated(v[1], 17) ^ v[2]
        v[2] = _rotated(v[2], 32)


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK
