"""A gateway as an organisation's program uses it, and the `trellis` command beside it."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib import error, request
from urllib.parse import urlencode

from tests.mesh.up import Up
from trellisctl import demo

SOON_SECONDS = 20.0
_DAY = timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """The gateway as one key uses it, on a new connection each time."""

    def __init__(self, url: str, key: str = demo.SECRET_KEY) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    def call(self, path: str, body: Any = None, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if body is not None:
            data, given["Content-Type"] = json.dumps(body).encode(), "application/json"
        asked = request.Request(f"{self.url}/api/v1{path}", data, {**self._headers, **given})
        try:
            with request.urlopen(asked, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, dict(refusal.headers), refusal.read())

    def ok(self, path: str, body: Any = None) -> Any:
        answer = self.call(path, body)
        assert answer.status in {200, 202}, f"{path}: {answer.status} {answer.body.decode()}"
        return answer.json

    def created(self, path: str, body: Any) -> Any:
        answer = self.call(path, body)
        assert answer.status == 201, f"{path}: {answer.status} {answer.body.decode()}"
        return answer.json

    def sql(self, text: str) -> list[list[Any]]:
        rows: list[list[Any]] = self.ok("/query", {"sql": text})["rows"]
        return rows

    def report(self, name: str) -> Any:
        """Return a report over yesterday to tomorrow, without what it says about itself; made anew, not kept."""
        now = datetime.now(UTC)
        span = {"start": f"{now - _DAY:%Y-%m-%d}", "end": f"{now + _DAY:%Y-%m-%d}"}
        found: Any = {}

        def is_new() -> bool:
            found.update(self.ok(f"/analytics/{name}{'&' if '?' in name else '?'}{urlencode(span)}"))
            return not found.pop("info")["is_cached"]

        until(is_new)
        return found

    @contextlib.contextmanager
    def stream(self) -> Iterator[Iterator[Any]]:
        """Follow realtime as server-sent events; gives what each says, and ends when the stream does."""
        asked = request.Request(
            f"{self.url}/api/v1/analytics/realtime", None, {**self._headers, "Accept": "text/event-stream"}
        )
        with request.urlopen(asked, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            yield (json.loads(line[6:]) for line in answer if line.startswith(b"data: "))


def until(condition: Callable[[], object], *, seconds: float = SOON_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
        time.sleep(0.1)


def trellis(up: Up, *arguments: str) -> str:
    command = [sys.executable, "-m", "trellisctl", *arguments, "--data-dir", str(up.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def settled(api: Api, operation: Mapping[str, Any]) -> None:
    """Wait for an operation's end, which is its success."""
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(api.ok(f"/operations/{operation['operation_id']}"))
        return found["state"] != "running"

    until(is_over, seconds=60)
    assert found["state"] == "succeeded", found
