"""Reads who stands behind an event: login ids and e-mail addresses, told apart from what only looks like one.

An e-mail address is normalised, exactly so: ASCII blanks around it are cut, letters become lower case (Unicode's simple
rule), nothing else changes: no dots and no `+tags` are taken out. What is kept of it is the SHA-256 of the result's
UTF-8, in lower-case hex, which is what senders give who hash it themselves.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from enrichment.aliases import IDENTITIES
from enrichment.macros import is_macro
from enrichment.parameters import Pair
from enrichment.requests import BLANKS

LONGEST_BYTES = 512
"""Of a login id, an order id or an address; what is longer names nobody."""
_NAMES: Mapping[str, tuple[bytes, ...]] = {
    field: tuple(name.encode() for name in names) for field, names in IDENTITIES.items()
}
NAMES = tuple(sorted({name for names in IDENTITIES.values() for name in names}))
"""Every parameter that may name somebody, in lower case."""
# Without a dot too: what hosts look like is not for us to say.
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
# SHA-256, SHA-1 and MD5: one meets only its own kind.
_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}")
_VISITOR = re.compile(r"usr_[0-9]{10,20}")
_NOBODY = frozenset({
    "null", "none", "nil", "nan", "undefined", "unknown", "guest", "anonymous", "anon", "test", "tester", "testing",
    "test_user", "testuser", "demo", "example", "sample", "n/a", "na", "(not set)", "not set", "not_set", "notset",
    "empty", "default", "user", "username", "user_id", "userid", "customer", "visitor", "login", "email", "admin",
    "true", "false", "0", "-1", "xxx", "abc", "123", "1234", "12345", "123456", "foo", "bar", "dummy", "fake", "todo",
    "[object object]",
})  # fmt: skip
_NOBODYS_BOXES = frozenset({
    "test", "tester", "testing", "testuser", "test1", "example", "guest", "anonymous", "anon", "null", "none",
    "undefined", "nobody", "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "user", "email", "fake",
    "dummy", "demo",
})  # fmt: skip
_NOBODYS_HOSTS = ("example.com", "example.org", "example.net", "test.com", "domain.com", "email.com")
_NOBODYS_ENDINGS = (".invalid", ".test", ".example", ".localhost", ".local")


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Who an event names; empty where it names nobody."""

    login: str = ""
    """As sent: login ids keep their case."""
    email_hash: str = ""
    """Lower-case hex of SHA-256; of SHA-1 or MD5 where the sender hashed so."""
    visitor_id: str = ""
    """A visitor id of ours that came back in a parameter."""

    def __bool__(self) -> bool:
        """Tell whether it names anybody."""
        return bool(self.login or self.email_hash or self.visitor_id)


def read_identifiers(pairs: Iterable[Pair], names: Mapping[str, Sequence[bytes]] = _NAMES) -> Identifiers:
    """Return whom parameters name: of each field the best name whose value names somebody.

    ``names`` are the parameters by field (``login_id``, ``email``, ``visitor_id``), in lower case, the best first. The
    order of the pairs does not matter.
    """
    by_name: dict[bytes, list[bytes]] = {}
    for name, raw in sorted(pairs):
        by_name.setdefault(name.lower(), []).append(raw)
    login = visitor_id = email_hash = ""
    for value in _values(by_name, names.get("visitor_id", ())):
        if _VISITOR.fullmatch(value):
            visitor_id = visitor_id or value
    for value in _values(by_name, names.get("email", ())):
        email_hash = email_hash or read_email(value)
    for value in _values(by_name, names.get("login_id", ())):
        if _VISITOR.fullmatch(value):
            visitor_id = visitor_id or value
        elif "@" in value and (hashed := read_email(value)):
            email_hash = email_hash or hashed
        elif not login and names_somebody(value):
            login = value
    return Identifiers(login, email_hash, visitor_id)


def read_email(value: str) -> str:
    """Return the hash of an address, or a hash that is one already, in lower case; empty for what is neither."""
    folded = value.strip(BLANKS.decode()).lower()
    if _HASH.fullmatch(folded):
        return "" if folded in _HASHES_OF_NOBODY else folded
    if not _ADDRESS.fullmatch(folded) or len(folded.encode()) > LONGEST_BYTES or _is_nobodys(folded):
        return ""
    return hashlib.sha256(folded.encode()).hexdigest()


def names_somebody(value: str) -> bool:
    """Tell whether a login or order id may be one: no placeholder, no macro, not one character again and again."""
    folded = value.lower()
    is_one_character = len(set(folded.replace("-", ""))) <= 1 and (len(folded) > 1 or not folded.isalnum())
    return bool(value) and not (
        len(value.encode()) > LONGEST_BYTES or folded in _NOBODY or is_one_character or is_macro(value.encode())
    )


def _is_nobodys(address: str) -> bool:
    box, _, host = address.rpartition("@")
    return box in _NOBODYS_BOXES or host in _NOBODYS_HOSTS or host.endswith(_NOBODYS_ENDINGS) or host in ("test", "x")


def _values(by_name: Mapping[bytes, Sequence[bytes]], names: Iterable[bytes]) -> Iterable[str]:
    """Yield the values of names, the best first, as text; what is no UTF-8 or holds a NUL names nobody."""
    for name in names:
        for raw in by_name.get(name, ()):
            try:
                value = raw.strip(BLANKS).decode()
            except UnicodeDecodeError:
                continue
            if value and "\0" not in value:
                yield value


# Senders hash what they have, also where they have nothing.
_HASHES_OF_NOBODY = frozenset(
    algorithm(text.encode()).hexdigest()
    for algorithm in (hashlib.sha256, hashlib.sha1, hashlib.md5)
    for text in ("", *_NOBODY, "test@test.com", "test@example.com", "guest@guest.com", "email@example.com")
)
