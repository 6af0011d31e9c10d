"""A load generator for links: ``python -m tests.bench.load`` reads a Plan as JSON from stdin and prints a Report.

Plain sockets on epoll in one process: it must be cheaper per request than the server that it measures. Requests are
bytes made beforehand; of each response the status, the Location and the end are verified, nothing is built.

Closed loop: each of ``connection_count`` connections sends its next request when it has the answer to the last.
Open loop: requests are due at a constant ``rate``, whatever the server does, and a latency counts from the instant at
which its request was due, so a server that stalls pays for every request that it kept waiting.
"""

import dataclasses
import errno
import json
import os
import resource
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque

_RECEIVE_BYTES = 65536
_END = b"\r\n\r\n"
_DRAIN_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to send, and how."""

    port: int
    """On 127.0.0.1."""
    requests: tuple[str, ...]
    """Whole requests as Latin-1 text, sent in turn."""
    status: int = 302
    """What each answer must have."""
    location: str = ""
    """How each answer's Location must begin."""
    body: str = ""
    """What each answer's body is."""
    connection_count: int = 64
    """Open at a time; in an open loop the most."""
    seconds: float = 3.0
    """How long to measure, after ``warmup_seconds``."""
    warmup_seconds: float = 0.5
    new_connection_each: bool = False
    """A connection serves one request; the client closes it."""
    rate: float = 0.0
    """Requests per second of an open loop; 0 makes it a closed one."""
    core: int | None = None
    """The core to run on. An open loop that has one spins there, so that requests leave when they are due."""


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What came of it. Only requests that began after the warm-up count."""

    answered_count: int
    seconds: float
    errors: dict[str, int]
    """By kind: ``bad answer``, ``closed``, names of system errors, ``unanswered`` (at the end of an open loop)."""
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    cpu_share: float
    """Of one core, used by this process: near 1 in a closed loop means that the client was the limit."""
    answer_bytes: int
    """Length of the last answer."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered_count / self.seconds


class _Connection:
    __slots__ = ("began_at", "descriptor", "received", "sends_when_connected", "socket")

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.descriptor = made.fileno()
        self.began_at = 0.0
        self.received = b""
        self.sends_when_connected: bytes | None = None


class Generator:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._address = ("127.0.0.1", plan.port)
        self._requests = [text.encode("latin-1") for text in plan.requests]
        self._next_request = 0
        self._start_of_answer = f"HTTP/1.1 {plan.status} ".encode()
        self._end = _END + plan.body.encode()
        self._location = f"\r\nLocation: {plan.location}".encode() if plan.location else b""
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._latencies = array("d")
        self._errors: Counter[str] = Counter()
        self._counts_from = 0.0
        self._ends_at = 0.0
        self._answer_bytes = 0

    def run(self) -> Report:
        """Send until the time is over."""
        plan = self._plan
        if plan.core is not None:
            os.sched_setaffinity(0, {plan.core})
        began = time.perf_counter()
        self._counts_from = began + plan.warmup_seconds
        self._ends_at = self._counts_from + plan.seconds
        usage = resource.getrusage(resource.RUSAGE_SELF)
        if plan.rate:
            self._run_open(began)
        else:
            self._run_closed()
        ended = time.perf_counter()
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime
        for connection in list(self._connections.values()):
            self._close(connection)
        self._epoll.close()
        return self._report(cpu / (ended - began))

    def _report(self, cpu_share: float) -> Report:
        latencies = sorted(self._latencies)

        def at(share: float) -> float:
            return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000 if latencies else 0.0

        return Report(
            answered_count=len(latencies),
            seconds=self._plan.seconds,
            errors=dict(self._errors),
            p50_ms=at(0.5),
            p99_ms=at(0.99),
            p999_ms=at(0.999),
            max_ms=at(1.0),
            cpu_share=cpu_share,
            answer_bytes=self._answer_bytes,
        )

    # -- loops ----------------------------------------------------------------------------------------------------

    def _run_closed(self) -> None:
        for _ in range(self._plan.connection_count):
            self._begin(self._connect(), time.perf_counter())
        poll, ends_at, new_each = self._epoll.poll, self._ends_at, self._plan.new_connection_each
        while (now := time.perf_counter()) < ends_at:
            for descriptor, events in poll(0.1):
                connection = self._on_event(descriptor, events)
                if connection is None:
                    continue
                if new_each:
                    self._close(connection)
                    connection = self._connect()
                self._begin(connection, time.perf_counter())
            while len(self._connections) < self._plan.connection_count and not self._is_failing(now):
                self._begin(self._connect(), time.perf_counter())

    def _run_open(self, began: float) -> None:
        interval, ends_at, new_each = 1 / self._plan.rate, self._ends_at, self._plan.new_connection_each
        due_at, waiting = began, deque[float]()
        poll, spins = self._epoll.poll, self._plan.core is not None
        while (now := time.perf_counter()) < ends_at:
            while due_at <= now:
                waiting.append(due_at)
                due_at += interval
            while waiting and (connection := self._free_connection()) is not None:
                self._begin(connection, waiting.popleft())
            # epoll waits whole milliseconds. With a core of our own we rather look all the time.
            for descriptor, events in poll(0 if spins and due_at - now < 0.002 else 0.001):
                answered = self._on_event(descriptor, events)
                if answered is None:
                    continue
                if new_each:
                    self._close(answered)
                else:
                    self._idle.append(answered)
        self._drain(waiting)

    def _drain(self, waiting: deque[float]) -> None:
        """Wait for what is on its way: dropping it would hide the slowest answers."""
        deadline = time.perf_counter() + _DRAIN_SECONDS
        busy = {c.descriptor for c in self._connections.values()} - {c.descriptor for c in self._idle}
        while busy and time.perf_counter() < deadline:
            for descriptor, events in self._epoll.poll(0.1):
                if self._on_event(descriptor, events) is not None or descriptor not in self._connections:
                    busy.discard(descriptor)
        if busy or waiting:
            self._errors["unanswered"] += len(busy) + len(waiting)

    def _free_connection(self) -> _Connection | None:
        if self._idle:
            return self._idle.pop()
        if len(self._connections) < self._plan.connection_count:
            return self._connect()
        return None

    def _is_failing(self, now: float) -> bool:
        """True while a server that refuses connections is not worth a busy loop."""
        if sum(self._errors.values()) > 1000:
            time.sleep(0.01)
        return now >= self._ends_at

    # -- connections ----------------------------------------------------------------------------------------------

    def _connect(self) -> _Connection:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(made)
        failure = made.connect_ex(self._address)
        if failure not in {0, errno.EINPROGRESS}:
            self._errors[errno.errorcode[failure]] += 1
        self._connections[connection.descriptor] = connection
        self._epoll.register(connection.descriptor, select.EPOLLIN)
        return connection

    def _begin(self, connection: _Connection, due_at: float) -> None:
        index = self._next_request
        request = self._requests[index]
        index += 1
        self._next_request = index if index < len(self._requests) else 0
        connection.began_at = due_at
        try:
            connection.socket.send(request)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOTCONN}:
                # The handshake is not over yet.
                connection.sends_when_connected = request
                self._epoll.modify(connection.descriptor, select.EPOLLIN | select.EPOLLOUT)
                return
            self._fail(connection, errno.errorcode.get(error.errno or 0, "?"))

    def _on_event(self, descriptor: int, events: int) -> _Connection | None:
        """Return the connection when its answer is whole."""
        connection = self._connections.get(descriptor)
        if connection is None:
            return None
        if connection.sends_when_connected is not None and events & select.EPOLLOUT:
            request, connection.sends_when_connected = connection.sends_when_connected, None
            self._epoll.modify(descriptor, select.EPOLLIN)
            try:
                connection.socket.send(request)
            except OSError as error:
                self._fail(connection, errno.errorcode.get(error.errno or 0, "?"))
            return None
        try:
            data = connection.socket.recv(_RECEIVE_BYTES)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._fail(connection, errno.errorcode.get(error.errno or 0, "?"))
            return None
        if not data:
            self._fail(connection, "closed")
            return None
        if connection.received:
            data = connection.received + data
        if not data.endswith(self._end):
            connection.received = data
            return None
        connection.received = b""
        return self._finish(connection, data)

    def _finish(self, connection: _Connection, data: bytes) -> _Connection | None:
        if not data.startswith(self._start_of_answer) or self._location not in data or data.count(_END) != 1:
            self._fail(connection, "bad answer")
            return None
        now = time.perf_counter()
        if connection.began_at >= self._counts_from and (self._plan.rate or now <= self._ends_at):
            self._latencies.append(now - connection.began_at)
            self._answer_bytes = len(data)
        return connection

    def _fail(self, connection: _Connection, kind: str) -> None:
        self._errors[kind] += 1
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.descriptor, None)
        connection.socket.close()


def click_requests(count: int, *, host: str, path: str) -> tuple[str, ...]:
    """Return ``count`` clicks as a browser sends them, each with its own click id; ``path`` may have a query."""
    headers = (
        f"Host: {host}\r\n"
        "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.5 Mobile/15E148 Safari/604.1\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-US,en;q=0.9\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n"
        "Referer: https://www.facebook.com/\r\n\r\n"
    )
    query = "source=facebook&medium=cpc&utm_campaign=summer2024"
    begin = f"{path}&" if "?" in path else f"{path}?"
    return tuple(f"GET {begin}click_id=bench_{i:06d}&{query} HTTP/1.1\r\n{headers}" for i in range(count))


def main() -> None:
    """Read a plan, run it, print its report."""
    given = json.load(sys.stdin)
    plan = Plan(**{**given, "requests": tuple(given["requests"])})
    print(json.dumps(dataclasses.asdict(Generator(plan).run())))


if __name__ == "__main__":
    main()
