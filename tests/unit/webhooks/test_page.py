"""docs/webhooks.md against the code."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from attribution_svc.webhooks import attempt
from attribution_svc.webhooks.guard import DEFAULT_PORTS
from attribution_svc.webhooks.message import SECRET_BYTES, secret_text, signature_headers
from attribution_svc.webhooks.sender import MOST_REDIRECTS
from attribution_svc.webhooks.webhook import DEFAULT_ATTEMPTS, SUBSCRIBABLE
from macro_language.names import ALIASES, CONVERSION

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()


def recipe() -> Any:
    """Return the function that the page tells people to verify with."""
    found = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names["verify"]


def headers_for(secrets: list[bytes], body: bytes, *, age_seconds: int = 0) -> dict[str, str]:
    """Return what we send with a body, by lower-case name."""
    sent = signature_headers(secrets, delivery_id="msg_1", timestamp=int(time.time()) - age_seconds, body=body)
    return {"webhook-id": "msg_1", **{name.lower(): value for name, value in sent.items()}}


def test_the_recipe_takes_what_we_send_and_nothing_else() -> None:
    verify, body = recipe(), b'{"type": "conversion.created"}'
    old, new, other = (bytes([at]) * SECRET_BYTES for at in range(3))
    headers = headers_for([new, old], body)
    assert verify(secret_text(new), headers, body)
    assert verify(secret_text(old), headers, body)
    assert not verify(secret_text(other), headers, body)
    assert not verify(secret_text(new), headers, body + b" ")
    assert not verify(secret_text(new), {**headers, "webhook-id": "msg_2"}, body)
    assert not verify(secret_text(new), headers_for([new], body, age_seconds=600), body)


def test_every_kind_is_explained() -> None:
    assert re.findall(r"^\| `(conversion\.\w+)`", PAGE, flags=re.MULTILINE) == [kind.value for kind in SUBSCRIBABLE]


def test_its_macros_are_there() -> None:
    section = PAGE.split("## Postbacks")[1].split("##")[0]
    for name in re.findall(r"\{(\w+)(?:\|[^}]*)?\}", section):
        assert ALIASES.get(name, name) in CONVERSION


@pytest.mark.parametrize(
    "told",
    [
        f"`max_attempts` ({DEFAULT_ATTEMPTS})",
        f"that is tried {attempt.MOST_REFUSED_ATTEMPTS} times at most",
        f"fails** {attempt.OPEN_AFTER_FAILURES} times in a row",
        f"left alone for {attempt.FIRST_OPEN.seconds} seconds",
        f"up to {attempt.LONGEST_OPEN.seconds // 60} minutes",
        f"anything up to {attempt.FIRST_DELAY.seconds}\nseconds, {3 * attempt.FIRST_DELAY.seconds} seconds",
        f"first {attempt.KEPT_BODY_BYTES // 1024} KiB of the answer",
        f"{', '.join(map(str, DEFAULT_PORTS[:-1]))}\nand {DEFAULT_PORTS[-1]}",
        f"each of up to\n{MOST_REDIRECTS} is checked",
    ],
)
def test_its_numbers_are_those_of_the_code(told: str) -> None:
    assert told in PAGE
