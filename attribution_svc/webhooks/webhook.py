"""A destination of conversions, and the rules of its making and changing. Pure: no clock, no store, no random."""

import enum
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from attribution_svc.campaigns.destination import read_destination
from attribution_svc.webhooks.body import read_body_template
from macro_language.names import CONVERSION
from macro_language.template import without_macros
from rule_language.predicate import Predicate
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, Violation

MAX_NAME_CHARACTERS = 200
MOST_HEADERS = 20
MAX_HEADER_BYTES = 2048
MOST_FILTER_VALUES = 100
MAX_FILTER_CHARACTERS = 200
MOST_ATTEMPTS = 50
LONGEST_AGE = timedelta(days=30)
HIGHEST_RATE = 1000
MOST_WEBHOOKS = 100
"""Of one organisation."""
METHODS = ("GET", "POST", "PUT")
DEFAULT_ATTEMPTS = 12
DEFAULT_AGE = timedelta(days=3)

_PORTS = {"http": 80, "https": 443}
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
# What we say ourselves, or what says to whom and how a message is sent.
_OUR_HEADERS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
        "proxy-authorization", "proxy-connection", "accept-encoding", "content-type", "user-agent", "cookie",
        "traceparent", "tracestate", "webhook-id", "webhook-timestamp", "webhook-signature",
    }
)  # fmt: skip


class WebhookKind(enum.Enum):
    """What is sent."""

    POSTBACK = "postback"
    """A request of the receiver's own form, made of a URL, and perhaps a body, with macros."""
    WEBHOOK = "webhook"
    """A JSON message, signed by Standard Webhooks."""


class EventKind(enum.Enum):
    """What became of a conversion."""

    CREATED = "conversion.created"
    STATUS = "conversion.status"
    VALUE = "conversion.value"
    REFUND = "conversion.refund"
    MATCHED = "conversion.matched"
    POLICY = "conversion.policy"
    TEST = "webhook.test"
    """A sample that somebody asked for; nobody can subscribe to it."""


SUBSCRIBABLE = tuple(kind for kind in EventKind if kind is not EventKind.TEST)


@dataclass(frozen=True, slots=True)
class Header:
    """A header that goes along."""

    name: str
    value: str = field(repr=False)
    """Empty where it is secret and was stored: see ``Webhook.sealed_headers``."""
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """What a webhook is told of, and how."""

    url: str
    name: str = ""
    method: str = ""
    """Empty: GET for a postback without a body, POST for anything else."""
    headers: tuple[Header, ...] = ()
    body: str = ""
    """A postback's: JSON with macros in its texts, or a form with macros in its values."""
    event_kinds: tuple[EventKind, ...] = (EventKind.CREATED,)
    campaign_ids: tuple[str, ...] = ()
    """Empty: of any campaign, and of none."""
    conversion_types: tuple[str, ...] = ()
    """Empty: any."""
    statuses: tuple[str, ...] = ()
    """Empty: any."""
    condition: Predicate | None = None
    waits_for_click: bool = False
    """It hears of nothing until it is known where the conversion comes from."""
    follows_redirects: bool = False
    max_attempts: int = DEFAULT_ATTEMPTS
    max_age: timedelta = DEFAULT_AGE
    """A delivery that is older is given up."""
    rate_per_second: int = 0
    """Requests at most; 0: no limit of its own."""


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """A secret that messages are signed with, sealed."""

    sealed: bytes = field(repr=False)
    expire_time: datetime | None = None
    """None: it is the present one."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A destination of an organisation."""

    organization_id: str
    webhook_id: str
    kind: WebhookKind
    definition: Definition
    is_enabled: bool
    disable_reason: str
    """Why it was turned off by us; empty otherwise."""
    secrets: tuple[SigningSecret, ...]
    """The present one first; none for a postback."""
    sealed_headers: dict[str, bytes] = field(repr=False)
    """Values of secret headers, by name in lower case."""
    version: int
    """Rises by one with every change, from 1."""
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What a caller wants to be otherwise. None: as it is."""

    define: Callable[[Definition], Definition] | None = None
    """Makes the wanted definition of the present one. A secret header with an empty value keeps the one that it has, as
    long as the URL leads to the same host, port and scheme."""
    is_enabled: bool | None = None
    expected_version: int = 0
    """The version that the caller has seen; 0: do not check."""


def is_webhook_id(text: str) -> bool:
    """Whether ``text`` can be a webhook's id at all."""
    return _ID.fullmatch(text) is not None


def no_such_webhook(webhook_id: str) -> NotFoundError:
    """The one error for a webhook that is not there, or that is another organisation's."""
    return NotFoundError(f"no webhook {webhook_id[:64]!r}")


def no_such_delivery(delivery_id: str) -> NotFoundError:
    """The one error for a delivery that is not there, or that is of another webhook."""
    return NotFoundError(f"no delivery {delivery_id[:64]!r}")


def normalised(kind: WebhookKind, wanted: Definition, *, sealed_headers: frozenset[str] = frozenset()) -> Definition:
    """Return the definition in normal form, or raise InvalidArgumentError with every violation.

    ``sealed_headers`` are names of secret headers whose values we hold already.
    """
    violations = [
        *_text_violations(wanted),
        *_header_violations(wanted.headers, sealed_headers),
        *_filter_violations(wanted),
        *_limit_violations(wanted),
    ]
    destination = read_destination(wanted.url, takes_macros=kind is WebhookKind.POSTBACK, macro_names=CONVERSION)
    violations += [Violation("url", problem) for problem in destination.problems]
    method, problems = _read_method(kind, wanted)
    violations += problems
    if violations:
        raise InvalidArgumentError.of(violations)
    return replace(wanted, url=destination.url, method=method)


def changed(webhook: Webhook, change: WebhookChange, *, now: datetime) -> Webhook:
    """Return the next version, or ``webhook`` itself when the change changes nothing.

    Raise FailedPreconditionError when it is not of the expected version, InvalidArgumentError with every violation.
    """
    if change.expected_version and change.expected_version != webhook.version:
        raise FailedPreconditionError(
            f"webhook {webhook.webhook_id} has version {webhook.version}, not {change.expected_version}"
        )
    definition = webhook.definition
    if change.define is not None:
        wanted = change.define(webhook.definition)
        definition = normalised(webhook.kind, wanted, sealed_headers=frozenset(webhook.sealed_headers))
        if violations := list(_carried_off(webhook.definition, definition)):
            raise InvalidArgumentError.of(violations)
    is_enabled = webhook.is_enabled if change.is_enabled is None else change.is_enabled
    following = replace(
        webhook,
        definition=definition,
        is_enabled=is_enabled,
        disable_reason="" if is_enabled else webhook.disable_reason,
    )
    if following == webhook:
        return webhook
    return replace(following, version=webhook.version + 1, update_time=max(now, webhook.update_time))


def _carried_off(before: Definition, after: Definition) -> Iterator[Violation]:
    """Secrets that would go where whoever gave them did not mean them to."""
    if _origin(before.url) == _origin(after.url):
        return
    for at, header in enumerate(after.headers):
        if header.is_secret and not header.value:
            told = f"{header.name!r} is secret: give it again, because the URL leads to another host, port or scheme"
            yield Violation(f"headers[{at}].value", told)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(without_macros(url))
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _text_violations(wanted: Definition) -> Iterator[Violation]:
    if len(wanted.name) > MAX_NAME_CHARACTERS:
        yield Violation("name", f"has {len(wanted.name)} characters, {MAX_NAME_CHARACTERS} are allowed")
    if any(unicodedata.category(character) == "Cc" for character in wanted.name):
        yield Violation("name", "has a control character")


def _read_method(kind: WebhookKind, wanted: Definition) -> tuple[str, list[Violation]]:
    if kind is WebhookKind.WEBHOOK:
        problems = []
        if wanted.method not in ("", "POST"):
            problems.append(Violation("method", f"is {wanted.method[:20]!r}; a webhook is sent by POST"))
        if wanted.body:
            problems.append(Violation("body", "is given, but the body of a webhook is ours: make it a postback"))
        return "POST", problems
    method = wanted.method or ("POST" if wanted.body else "GET")
    problems = [Violation("body", problem) for problem in read_body_template(wanted.body).problems]
    if method not in METHODS:
        problems.append(Violation("method", f"is {method[:20]!r}, must be one of {', '.join(METHODS)}"))
    if wanted.body and method == "GET":
        problems.append(Violation("body", "is given, but the method is GET"))
    return method, problems


def _header_violations(headers: tuple[Header, ...], sealed: frozenset[str]) -> Iterator[Violation]:
    if len(headers) > MOST_HEADERS:
        yield Violation("headers", f"has {len(headers)}, {MOST_HEADERS} are allowed")
    seen = set()
    for at, header in enumerate(headers):
        name = header.name.lower()
        if not _TOKEN.fullmatch(header.name):
            yield Violation(f"headers[{at}].name", "must be 1 to 128 characters of a header's name")
        elif name in _OUR_HEADERS:
            yield Violation(f"headers[{at}].name", f"{name!r} is ours to say")
        elif name in seen:
            yield Violation(f"headers[{at}].name", f"{name!r} is given twice")
        seen.add(name)
        if not header.value and not (header.is_secret and name in sealed):
            yield Violation(f"headers[{at}].value", "is required")
        # A value may be secret: it is not repeated.
        if len(header.value.encode()) > MAX_HEADER_BYTES:
            yield Violation(f"headers[{at}].value", f"is longer than {MAX_HEADER_BYTES} bytes")
        if not all(0x20 <= ord(character) < 0x7F for character in header.value):
            yield Violation(f"headers[{at}].value", "must be printable ASCII")


def _filter_violations(wanted: Definition) -> Iterator[Violation]:
    if not wanted.event_kinds:
        yield Violation("event_kinds", f"is empty; there are {', '.join(kind.value for kind in SUBSCRIBABLE)}")
    for at, kind in enumerate(wanted.event_kinds):
        if kind not in SUBSCRIBABLE or kind in wanted.event_kinds[:at]:
            yield Violation(f"event_kinds[{at}]", f"{kind.value!r} is given twice, or is nothing to ask for")
    filters = (
        ("campaign_ids", wanted.campaign_ids),
        ("conversion_types", wanted.conversion_types),
        ("statuses", wanted.statuses),
    )
    for name, values in filters:
        if len(values) > MOST_FILTER_VALUES:
            yield Violation(name, f"has {len(values)} values, {MOST_FILTER_VALUES} are allowed")
        for at, value in enumerate(values):
            if not 1 <= len(value) <= MAX_FILTER_CHARACTERS:
                yield Violation(f"{name}[{at}]", f"has {len(value)} characters, must be 1 to {MAX_FILTER_CHARACTERS}")


def _limit_violations(wanted: Definition) -> Iterator[Violation]:
    if not 1 <= wanted.max_attempts <= MOST_ATTEMPTS:
        yield Violation("max_attempts", f"is {wanted.max_attempts}, must be 1 to {MOST_ATTEMPTS}")
    if not timedelta(minutes=1) <= wanted.max_age <= LONGEST_AGE:
        seconds, longest = int(wanted.max_age.total_seconds()), int(LONGEST_AGE.total_seconds())
        yield Violation("max_age_duration", f"is {seconds} s, must be 60 to {longest} s")
    if not 0 <= wanted.rate_per_second <= HIGHEST_RATE:
        yield Violation("rate_per_second", f"is {wanted.rate_per_second}, must be 0 (no limit) to {HIGHEST_RATE}")
