"""Tracking domains: host names by which an organisation's traffic is known."""

import re
from dataclasses import dataclass
from datetime import datetime

from svc_runtime.errors import InvalidArgumentError, Violation

LONGEST_HOST = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Domain:
    """A tracking host and its owner."""

    host: str
    organization_id: str
    create_time: datetime


def normal_host(text: str) -> str:
    """Return a host name in lower case without its trailing dot; raise InvalidArgumentError when it is none.

    Letters outside ASCII are refused: the form that browsers send (``xn--…``) is the one to store.
    """
    host = text.lower().removesuffix(".")
    if len(host) > LONGEST_HOST:
        raise _refused(f"has {len(host)} characters, at most {LONGEST_HOST}")
    if not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _refused("is not a host name: labels of a-z, 0-9 and `-` with dots between, no port, no path")
    return host


def _refused(why: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([Violation("host", why)])
