"""Every cache of results keeps what it promises, and the one in Redis also while Redis is away."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from analytics_svc.cache import Kept, ResultCache, Results
from analytics_svc.store.cache_memory import MemoryResultCache
from analytics_svc.store.cache_redis import RedisResultCache
from tests.valkey import Valkey

pytestmark = pytest.mark.store

NUMBER = TypeAdapter(int)
PATIENT = 5.0
"""Longer than in life, where a busy machine may make it slower and never wrong."""
KEPT = Kept("org_acmecorp", ("clicks", 1), "version 1", 60.0)


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    server = Valkey(tmp_path / "valkey")
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResultCache]:
    if request.param == "memory":
        yield MemoryResultCache()
        return
    server = Valkey(tmp_path / "valkey")
    await server.start()
    try:
        async with RedisResultCache.open(server.url, wait_seconds=PATIENT) as opened:
            yield opened
    finally:
        await server.kill()


class Maker:
    """Makes a result and counts how often."""

    def __init__(self, result: int = 42) -> None:
        self.result = result
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        await asyncio.sleep(0)
        return self.result


async def test_what_was_put_comes_back(cache: ResultCache) -> None:
    value = b"\x00\xff bytes of any kind \n"
    await cache.put("analytics:a", value, seconds=60)
    assert await cache.get("analytics:a") == value
    assert await cache.get("analytics:b") is None


async def test_the_last_value_counts(cache: ResultCache) -> None:
    await cache.put("analytics:a", b"one", seconds=60)
    await cache.put("analytics:a", b"two", seconds=60)
    assert await cache.get("analytics:a") == b"two"


async def test_a_value_is_gone_after_its_time(cache: ResultCache) -> None:
    await cache.put("analytics:a", b"one", seconds=0.05)
    await asyncio.sleep(0.1)
    assert await cache.get("analytics:a") is None


async def test_an_equal_question_is_answered_from_the_cache_in_another_process_too(valkey: Valkey) -> None:
    first, second = Maker(), Maker(7)
    for make, cached in ((first, False), (second, True)):
        async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
            assert await Results(opened).get(KEPT, NUMBER, make) == (42, cached)
    assert (first.count, second.count) == (1, 0)


async def test_keys_have_our_prefix_and_no_word_of_the_question(valkey: Valkey) -> None:
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        await Results(opened).get(Kept("org_acmecorp", "who is jane@example.com", 1, 60.0), NUMBER, Maker())
    client = valkey.client()
    keys = await client.keys("*")
    remaining = await client.pttl(keys[0])
    await client.aclose()
    assert len(keys) == 1
    assert keys[0].startswith(b"analytics:")
    assert b"jane" not in keys[0]
    # Earlier than asked for, by chance: what was made together does not end together.
    assert 47_000 < remaining <= 60_000


async def test_results_are_right_while_redis_dies_and_comes_back(valkey: Valkey) -> None:
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        results = Results(opened)
        assert await results.get(KEPT, NUMBER, Maker()) == (42, False)
        assert await results.get(KEPT, NUMBER, Maker()) == (42, True)
        await valkey.kill()
        for number in range(50):
            make = Maker(number)
            assert await results.get(KEPT, NUMBER, make) == (number, False)
        await valkey.start()
        async with asyncio.timeout(10):
            while not (await results.get(KEPT, NUMBER, Maker(99)))[1]:  # noqa: ASYNC110 - Redis tells nobody that it is back
                await asyncio.sleep(0.1)


async def test_questions_in_flight_survive_a_kill(valkey: Valkey) -> None:
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        results = Results(opened)

        async def ask(number: int) -> None:
            found, _ = await results.get(Kept("org", number % 20, 1, 60.0), NUMBER, Maker(number % 20))
            assert found == number % 20

        asked = [asyncio.create_task(ask(number)) for number in range(400)]
        await asyncio.sleep(0)
        await valkey.kill()
        await asyncio.gather(*asked)


async def test_a_frozen_redis_costs_tens_of_milliseconds_and_then_nothing(valkey: Valkey) -> None:
    async with RedisResultCache.open(valkey.url) as opened:
        valkey.freeze()
        try:
            began = time.monotonic()
            assert await opened.get("analytics:a") is None
            first = time.monotonic() - began
            began = time.monotonic()
            for _ in range(100):
                assert await opened.get("analytics:a") is None
                await opened.put("analytics:a", b"x", seconds=60)
            rest = time.monotonic() - began
        finally:
            valkey.thaw()
    assert 0.04 < first < 1.0
    assert rest < 0.2


async def test_many_who_ask_at_once_find_what_is_there(valkey: Valkey) -> None:
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        await opened.put("analytics:a", b"x", seconds=60)
        assert await asyncio.gather(*(opened.get("analytics:a") for _ in range(200))) == [b"x"] * 200


async def test_a_flushed_redis_is_filled_again(valkey: Valkey) -> None:
    client = valkey.client()
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        results = Results(opened)
        await results.get(KEPT, NUMBER, Maker())
        await client.flushall()
        assert await results.get(KEPT, NUMBER, Maker(43)) == (43, False)
        assert await results.get(KEPT, NUMBER, Maker(44)) == (43, True)
    await client.aclose()


def _planted(organization_id: str, key: str, payload: bytes) -> bytes:
    return f"{organization_id}\n{key}\n".encode() + payload


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00\xff\xfe",
        b"7",
        b"\n\n7",
        _planted("org_acmecorp", "analytics:another", b"7"),
        _planted("org_other", KEPT.key, b"7"),
        _planted("org_acmecorp", KEPT.key, b""),
        _planted("org_acmecorp", KEPT.key, b'{"not": "a number"}'),
        _planted("org_acmecorp", KEPT.key, b"7 and more"),
        _planted("org_acmecorp", KEPT.key, b"\xff"),
    ],
)
async def test_what_somebody_planted_is_not_believed(valkey: Valkey, value: bytes) -> None:
    client = valkey.client()
    await client.set(KEPT.key, value)
    await client.aclose()
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        assert await Results(opened).get(KEPT, NUMBER, Maker()) == (42, False)
        # And it is replaced.
        assert await Results(opened).get(KEPT, NUMBER, Maker(1)) == (42, True)


async def test_a_key_that_holds_no_text_is_not_believed(valkey: Valkey) -> None:
    client = valkey.client()
    await client.rpush(KEPT.key, "a list")
    await client.aclose()
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        assert await Results(opened).get(KEPT, NUMBER, Maker()) == (42, False)


async def test_an_address_where_nobody_is_slows_nothing_down(tmp_path: Path) -> None:
    async with RedisResultCache.open(f"unix://{tmp_path}/nobody") as opened:
        began = time.monotonic()
        for number in range(100):
            assert await Results(opened).get(KEPT, NUMBER, Maker(number)) == (number, False)
    assert time.monotonic() - began < 1.0


async def test_valkey_forgets_the_least_used_when_it_is_full(valkey: Valkey) -> None:
    client = valkey.client()
    async with RedisResultCache.open(valkey.url, wait_seconds=PATIENT) as opened:
        for number in range(120):
            await opened.put(f"analytics:{number}", b"x" * (1 << 20), seconds=60)
    memory = await client.info("memory")
    keys = await client.dbsize()
    await client.aclose()
    assert memory["maxmemory_policy"] == "allkeys-lru"
    assert 0 < keys < 70
