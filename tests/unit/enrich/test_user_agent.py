import tracemalloc

import pytest
import re2
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler
from hypothesis import given, settings
from hypothesis import strategies as st

from enrichment import bots
from enrichment.bots import REASONS, Bots, bot_reasons, is_prefetch
from enrichment.device_type import DeviceType
from enrichment.user_agent import LONGEST_BYTES, UserAgents
from tests.unit.enrich.people import PEOPLE

AGENTS = UserAgents(cache_size=1000)
BOTS = Bots()
DECLARED = [text for crawler in CRAWLER_USER_AGENTS_DATA for text in crawler["instances"]]


@pytest.mark.parametrize(("text", "browser", "system", "device_type"), PEOPLE)
def test_a_persons_browser_is_read_and_no_bot(text: str, browser: str, system: str, device_type: str) -> None:
    found = AGENTS.read(text.encode())
    assert found.bot_reasons == ()
    assert found.device_type == device_type
    assert found.browser == browser or not browser
    assert found.os == system or not system


def test_versions_and_devices_are_read() -> None:
    found = AGENTS.read(PEOPLE[8][0].encode())
    assert (found.browser_version, found.os_version, found.device) == ("17.4", "17.4", "Apple iPhone")
    assert AGENTS.read(PEOPLE[13][0].encode()).device == "Samsung SM-S918B"
    assert AGENTS.read(PEOPLE[16][0].encode()).device == "SM-X700"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", bots.DECLARED_BOT),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", bots.DECLARED_BOT),
        ("Acme Crawler 1.0 (+https://acme.example/)", bots.DECLARED_BOT),
        ("curl/8.5.0", bots.LIBRARY_CLIENT),
        ("python-requests/2.32.3", bots.LIBRARY_CLIENT),
        ("Go-http-client/1.1", bots.LIBRARY_CLIENT),
        ("okhttp/4.12.0", bots.LIBRARY_CLIENT),
        ("Java/17.0.2", bots.LIBRARY_CLIENT),
        ("Dart/3.4 (dart:io)", bots.LIBRARY_CLIENT),
        ("PostmanRuntime/7.39.0", bots.LIBRARY_CLIENT),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/126.0.0.0 Safari/537.36", bots.HEADLESS_BROWSER),
        ("Mozilla/5.0 (Unknown; Linux) AppleWebKit/538.1 PhantomJS/2.1.1 Safari/538.1", bots.HEADLESS_BROWSER),
    ],
)
def test_a_robot_is_marked_with_its_reason(text: str, reason: str) -> None:
    found = AGENTS.read(text.encode())
    assert reason in found.bot_reasons
    assert found.device_type is DeviceType.BOT


def test_every_robot_of_the_list_is_marked() -> None:
    assert [text for text in DECLARED if not AGENTS.read(text.encode()).bot_reasons] == []


def test_what_ua_parser_takes_for_a_spider_is_declared_unless_more_is_known() -> None:
    assert BOTS.reasons("Something/1.0") == ()
    assert BOTS.reasons("Something/1.0", is_spider=True) == (bots.DECLARED_BOT,)
    assert BOTS.reasons("curl/8.5.0", is_spider=True) == (bots.LIBRARY_CLIENT,)


@pytest.mark.parametrize("header", [b"", b"  ", b"\t"])
def test_an_empty_user_agent_is_marked_and_of_no_known_device(header: bytes) -> None:
    found = AGENTS.read(header)
    assert found.bot_reasons == (bots.EMPTY_USER_AGENT,)
    assert found.device_type is DeviceType.OTHER


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"sec-purpose": b"prefetch"}, True),
        ({b"sec-purpose": b"prefetch;prerender"}, True),
        ({b"purpose": b"Prefetch"}, True),
        ({b"x-purpose": b"preview"}, True),
        ({b"x-moz": b"prefetch"}, True),
        ({b"x-moz": b""}, False),
        ({b"purpose": b"checkout"}, False),
        ({b"referer": b"https://prefetch.example/"}, False),
        ({}, False),
    ],
)
def test_a_fetch_ahead_of_the_click_is_marked(headers: dict[bytes, bytes], expected: bool) -> None:
    assert is_prefetch(headers) is expected
    assert bot_reasons(("declared_bot",), headers) == ("declared_bot", "prefetch")[: 1 + expected]


@settings(deadline=None)  # first use fills caches
@given(st.binary(max_size=2000))
def test_no_bytes_are_too_odd_for_a_user_agent(header: bytes) -> None:
    found = AGENTS.read(header)
    assert set(found.bot_reasons) <= set(REASONS)
    assert isinstance(found.device_type, DeviceType)


@settings(deadline=None)  # first use fills caches
@given(st.lists(st.sampled_from([*DECLARED[:400], *(text for text, *_ in PEOPLE)]), max_size=3), st.text(max_size=20))
def test_one_automaton_finds_what_the_list_finds_pattern_by_pattern(texts: list[str], noise: str) -> None:
    text = (noise + " ".join(texts))[:LONGEST_BYTES].encode("utf-8", "replace").decode().strip()
    if text and is_crawler(text):
        assert BOTS.reasons(text)


def test_every_pattern_of_the_list_is_an_expression_of_re2() -> None:
    for crawler in CRAWLER_USER_AGENTS_DATA:
        re2.compile(crawler["pattern"])


def test_what_comes_after_the_longest_is_not_read_nor_kept() -> None:
    start = b"Mozilla/5.0 " + b"x" * LONGEST_BYTES
    assert AGENTS.read(start + b" Googlebot/2.1") is AGENTS.read(start + b" curl/8")


def test_the_cache_is_bounded() -> None:
    agents = UserAgents(cache_size=50)
    headers = [b"Browser/%d " % number + b"x" * 900 for number in range(2000)]
    agents.read(headers[0])
    tracemalloc.start()
    for header in headers:
        agents.read(header)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50 * 10_000
    assert agents.read(headers[-1]) is agents.read(bytes(headers[-1]))


def test_the_same_header_reads_the_same_with_and_without_a_cache() -> None:
    fresh = UserAgents(cache_size=0)
    for text, *_ in PEOPLE:
        assert fresh.read(text.encode()) == AGENTS.read(text.encode()) == fresh.read(text.encode())
