"""Marks clients that are no person's browser, each with the reasons. A mark: nothing is dropped for it."""

from collections.abc import Mapping
from typing import Any

import re2
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

DECLARED_BOT = "declared_bot"
"""It says that it is a robot: a crawler, a preview, a monitor, a scanner."""
LIBRARY_CLIENT = "library_client"
"""A program's HTTP library, such as curl, python-requests or okhttp. On a postback that is the right client."""
HEADLESS_BROWSER = "headless_browser"
"""A browser without a screen, or one that a program drives."""
EMPTY_USER_AGENT = "empty_user_agent"
"""It does not say what it is."""
PREFETCH = "prefetch"
"""A browser fetched ahead of a click that may never come."""
REASONS = (DECLARED_BOT, LIBRARY_CLIENT, HEADLESS_BROWSER, EMPTY_USER_AGENT, PREFETCH)
"""Every reason, in the order in which they are given."""

_BY_TAG = {"http-library": LIBRARY_CLIENT, "browser-automation": HEADLESS_BROWSER}
_MAX_MEMORY_BYTES = 64 * 2**20
# What the list lacks. A library names itself first; a browser begins with Mozilla or Opera.
_LIBRARIES = (
    r"[a-z-]*python[a-z-]*", "java", "okhttp", "dart", "deno", "bun", "undici", "ruby", "faraday", "typhoeus",
    "guzzlehttp", "perl", "php", "reqwest", "hyper", "ureq", "postmanruntime", "insomnia", "k6", "apachebench", "wrk",
    "hey", "vegeta", "jmeter", "restsharp", "resty", "fasthttp", "unirest", "winhttp", "libcurl", "powershell",
    "lua-resty-http", "cpp-httplib", r"boost\.beast", r"aws-sdk-[a-z]+", "rest-client", r"http\.rb", "superagent",
    "needle", "ky",
)  # fmt: skip
_OUR_PATTERNS = (
    (f"(?i)^(?:{'|'.join(_LIBRARIES)})(?:[/ ]|$)", LIBRARY_CLIENT),
    ("(?i)headless|phantomjs|slimerjs|selenium|puppeteer|playwright|webdriver|cypress/", HEADLESS_BROWSER),
    ("(?i)(?:^|[^a-z])(?:bot|robot|crawler|spider|scraper)(?:[^a-z]|$)", DECLARED_BOT),
)

# Each header says it by a word in its value.
_AHEAD = (
    (b"sec-purpose", (b"prefetch", b"prerender")),
    (b"purpose", (b"prefetch", b"preview", b"prerender")),
    (b"x-purpose", (b"preview", b"prefetch", b"instant")),
    (b"x-moz", (b"prefetch",)),
)


class Bots:
    """Recognises robots by their user agent, after crawler-user-agents and rules of our own."""

    def __init__(self) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MAX_MEMORY_BYTES  # one automaton for all patterns: a hundred times faster than one by one
        self._patterns = re2.Set.SearchSet(options)
        self._reasons: list[str] = []
        for pattern, reason in (*map(_listed, CRAWLER_USER_AGENTS_DATA), *_OUR_PATTERNS):
            self._patterns.Add(pattern)
            self._reasons.append(reason)
        self._patterns.Compile()

    def reasons(self, user_agent: str, *, is_spider: bool = False) -> tuple[str, ...]:
        """Return why this user agent is no person's browser, in the order of ``REASONS``; empty for a person's.

        ``is_spider``: ua-parser takes it for one.
        """
        if not user_agent:
            return (EMPTY_USER_AGENT,)
        reasons = {self._reasons[number] for number in self._patterns.Match(user_agent) or ()}
        if is_spider and not reasons:
            return (DECLARED_BOT,)
        return tuple(reason for reason in REASONS if reason in reasons) if reasons else ()


def _listed(crawler: Mapping[str, Any]) -> tuple[str, str]:
    reason = next((_BY_TAG[tag] for tag in crawler.get("tags", ()) if tag in _BY_TAG), DECLARED_BOT)
    return crawler["pattern"], reason


def is_prefetch(headers: Mapping[bytes, bytes]) -> bool:
    """True when a browser fetched ahead of a click. ``headers``: first value by name in lower case."""
    for name, words in _AHEAD:
        value = headers.get(name)
        if value is not None:
            folded = value.lower()
            if any(word in folded for word in words):
                return True
    return False


def bot_reasons(of_user_agent: tuple[str, ...], headers: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Return every reason why a request is no person's click: its user agent's and its headers'."""
    return (*of_user_agent, PREFETCH) if is_prefetch(headers) else of_user_agent
