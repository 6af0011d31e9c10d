"""Ids: of events, clicks and visitors."""

import re
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_gateway.ids import VisitorIds, click_id, event_id, keyed_event_id


def test_an_event_id_is_a_version_7_uuid_of_its_time() -> None:
    found = uuid.UUID(event_id(1_795_000_000_123))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == 1_795_000_000_123
    assert str(found) == event_id(1_795_000_000_123)[:14] + str(found)[14:]


@given(times=st.lists(st.integers(0, 2**48 - 1), min_size=2, max_size=20, unique=True))
def test_event_ids_are_ordered_by_time(times: list[int]) -> None:
    ids = [event_id(time_ms) for time_ms in sorted(times)]
    assert ids == sorted(ids)
    assert all(uuid.UUID(found).version == 7 and str(uuid.UUID(found)) == found for found in ids)


def test_event_ids_of_one_millisecond_differ() -> None:
    assert len({event_id(1) for _ in range(50_000)}) == 50_000


def test_every_variant_and_random_bit_of_an_event_id_varies() -> None:
    ids = [uuid.UUID(event_id(0)).int for _ in range(2000)]
    random_bits = ((1 << 80) - 1) & ~(0xF << 76) & ~(0b11 << 62)
    always_one, ever_one = random_bits, 0
    for found in ids:
        always_one &= found
        ever_one |= found & random_bits
    assert (always_one, ever_one) == (0, random_bits)


def test_a_keyed_event_id_is_a_function_of_organisation_and_key() -> None:
    first = keyed_event_id("org_a", b"key")
    assert first == keyed_event_id("org_a", b"key")
    assert uuid.UUID(first).version == 5
    others = {keyed_event_id("org_b", b"key"), keyed_event_id("org_a", b"Key"), keyed_event_id("org_a", b"key\0")}
    # The border between the two cannot be moved.
    others |= {keyed_event_id("org_", b"a\0key"), keyed_event_id("org_a\0", b"key")}
    assert first not in others
    assert len(others) >= 4


def test_the_ids_of_public_keys_stay_for_ever() -> None:
    assert keyed_event_id("org_a", b"key") == "fa4d2f69-979e-549d-8034-dc14dace1c94"


def test_a_senders_keys_are_its_own() -> None:
    first = keyed_event_id("org_a", b"key", sender="ptr_1")
    assert first == keyed_event_id("org_a", b"key", sender="ptr_1")
    others = {keyed_event_id("org_a", b"key", sender="ptr_2"), keyed_event_id("org_b", b"key", sender="ptr_1")}
    others |= {keyed_event_id("org_a", key) for key in (b"key", b"ptr_1\0key", b"ptr_1/key")}
    assert first not in others
    assert len(others) == 5


def test_click_ids_are_unguessable_and_safe_in_urls() -> None:
    ids = [click_id() for _ in range(20_000)]
    assert len(set(ids)) == 20_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", found) for found in ids)
    for position in range(22):
        assert len({found[position] for found in ids}) >= 60, "a character that hardly varies"


class _Clock:
    """A clock that a test sets, in nanoseconds."""

    def __init__(self) -> None:
        self.ns = 1_795_000_000_000_000_000

    def time_ns(self) -> int:
        return self.ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("ingress_gateway.ids.time", clock)
    return clock


def _number(visitor_id: str) -> int:
    found = re.fullmatch(r"usr_(\d{10,20})", visitor_id)
    assert found
    return int(found[1])


def test_a_snowflake_never_repeats_when_the_clock_stands_still(clock: _Clock) -> None:
    ids = VisitorIds("salt" * 4)
    numbers = [_number(ids.new()) for _ in range(20_000)]
    assert numbers == sorted(set(numbers))


@given(steps=st.lists(st.integers(-5_000_000_000, 5_000_000_000), min_size=1, max_size=50))
def test_a_snowflake_never_repeats_whatever_the_clock_does(steps: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = _Clock()
        patch.setattr("ingress_gateway.ids.time", clock)
        ids = VisitorIds("salt" * 4)
        numbers = []
        for step in steps:
            clock.ns += step
            numbers += [_number(ids.new()) for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_a_snowflake_tells_its_time_and_processes_differ(clock: _Clock) -> None:
    number = _number(VisitorIds("salt" * 4).new())
    assert (number >> 22) + 1_577_836_800_000 == clock.ns // 1_000_000
    assert len({_number(VisitorIds("salt" * 4).new()) for _ in range(50)}) > 30
    assert number < 2**63


def test_a_visitor_without_cookies_is_one_for_a_day_and_nobody_can_link_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = VisitorIds("salt" * 4)
    today = ids.hashed("org_a", "198.51.100.7", b"agent")
    assert re.fullmatch(r"usr_h[0-9a-f]{24}", today)
    assert ids.hashed("org_a", "198.51.100.7", b"agent") == today
    assert VisitorIds("salt" * 4).hashed("org_a", "198.51.100.7", b"agent") == today, "every worker says the same"
    different = {
        ids.hashed("org_b", "198.51.100.7", b"agent"),
        ids.hashed("org_a", "198.51.100.8", b"agent"),
        ids.hashed("org_a", "198.51.100.7", b"agent2"),
        ids.hashed("org_a", "198.51.100.", b"7agent"),
        VisitorIds("else" * 4).hashed("org_a", "198.51.100.7", b"agent"),
    }
    assert len(different) == 5
    assert today not in different
    real = time.time
    assert real() > 0

    class _Tomorrow:
        @staticmethod
        def now(_zone: object) -> object:
            from datetime import UTC, datetime, timedelta

            return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr("ingress_gateway.ids.datetime", _Tomorrow)
    assert ids.hashed("org_a", "198.51.100.7", b"agent") != today
