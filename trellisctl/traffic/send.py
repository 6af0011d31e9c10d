"""How it is sent: visitors side by side, each one's requests in order, with the cookie that they were given."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from trellisctl.traffic.visits import CLICK_ID, Request, Visitor

VISITOR_COOKIE = "_tl_v"
TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class Summary:
    """What was sent and what came back."""

    kinds: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """By status, or by the name of what went wrong."""
    visitors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    """Seconds, of every answer."""
    seconds: float = 0.0
    failure_count: int = 0
    """Requests without an answer, or with one of 400 and above."""

    @property
    def sent_count(self) -> int:
        """Requests sent."""
        return self.kinds.total()

    def text(self) -> str:
        """Return the lines for people."""
        rate = self.sent_count / self.seconds if self.seconds else 0.0
        lines = [
            f"sent      {self.sent_count} in {self.seconds:.1f} s ({rate:.0f}/s): {_counts(self.kinds)}",
            f"sources   {_counts(self.sources)}",
            f"visitors  {_counts(self.visitors)}",
            f"answers   {_counts(self.answers)}",
        ]
        if len(self.latencies) > 1:
            cuts = statistics.quantiles(self.latencies, n=100)
            lines.append(f"latency   p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms")
        return "\n".join(lines)


async def send(visitors: Sequence[Visitor], *, url: str, host: str, concurrency: int) -> Summary:
    """Send everything to the gateway at ``url`` in the name of ``host``, at most ``concurrency`` requests at a time."""
    summary = Summary()
    began = time.monotonic()
    queue = iter(visitors)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
    ) as session:

        async def work() -> None:
            for visitor in queue:
                await _Browser(session, url, host, summary).visit(visitor)

        await asyncio.gather(*(work() for _ in range(min(concurrency, len(visitors)))))
    summary.seconds = time.monotonic() - began
    return summary


class _Browser:
    """Keeps the visitor cookie by itself: it is ``Secure``, and a jar would not send it over loopback HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str, host: str, summary: Summary) -> None:
        self._session = session
        self._url = url
        self._host = host
        self._summary = summary
        self._cookie = ""
        self._click_id = "unknown"

    async def visit(self, visitor: Visitor) -> None:
        """Send a visitor's requests in order."""
        word = "bots" if visitor.is_bot else "returning" if visitor.is_returning else "new"
        self._summary.visitors[word] += 1
        for request in visitor.requests:
            await self._send(request, keeps_cookies=not visitor.is_bot and request.kind != "postback")

    async def _send(self, request: Request, *, keeps_cookies: bool) -> None:
        summary = self._summary
        summary.kinds[f"{request.kind}s"] += 1
        if request.source:
            summary.sources[request.source] += 1
        began = time.monotonic()
        try:
            async with self._session.request(
                request.method,
                # Encoded already: what a source sends must arrive as it is.
                URL(self._url + request.target.replace(CLICK_ID, quote(self._click_id, safe="")), encoded=True),
                headers=self._headers(request, keeps_cookies=keeps_cookies),
                data=request.body or None,
                allow_redirects=False,
            ) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            summary.answers[type(error).__name__] += 1
            summary.failure_count += 1
            return
        summary.latencies.append(time.monotonic() - began)
        summary.answers[str(answer.status)] += 1
        summary.failure_count += answer.status >= 400 and not (request.leads_nowhere and answer.status == 404)
        self._learn(answer, keeps_cookies=keeps_cookies)

    def _headers(self, request: Request, *, keeps_cookies: bool) -> CIMultiDict[str]:
        headers = CIMultiDict([("Host", self._host), *request.headers])
        if keeps_cookies and self._cookie:
            headers.add("Cookie", f"{VISITOR_COOKIE}={self._cookie}")
        return headers

    def _learn(self, answer: aiohttp.ClientResponse, *, keeps_cookies: bool) -> None:
        location = answer.headers.get("Location")
        if location:
            self._click_id = parse_qs(urlsplit(location).query).get("click_id", [self._click_id])[0]
        if keeps_cookies:
            for header in answer.headers.getall("Set-Cookie", []):
                if VISITOR_COOKIE in (cookie := SimpleCookie(header)):
                    self._cookie = cookie[VISITOR_COOKIE].value


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"
