"""Ends of edges: visitors as they are, everything else as a keyed hash. Pure."""

import base64
import enum
import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

from enrichment.identities import Identifiers, names_somebody

_HASH_BYTES = 16
_DAILY = "usr_h"
"""How the ids begin that gateways give to visitors without cookies: hashes of address and browser, of one day."""


class EndKind(enum.StrEnum):
    """What an end is."""

    VISITOR = "visitor"
    LOGIN = "login"
    EMAIL = "email"
    ORDER = "order"
    CLICK = "click"
    EVENT = "event"
    """A conversion that no visitor sent."""


OF_PEOPLE = (EndKind.VISITOR, EndKind.LOGIN, EndKind.EMAIL)
"""One person has few of them: an end with many neighbours of one of these kinds joins nobody."""


@dataclass(frozen=True, slots=True, order=True)
class End:
    """One end of an edge."""

    kind: EndKind
    value: str
    """A visitor's or an event's id, else a keyed hash in hex."""

    def __str__(self) -> str:
        """Return it as the store has it."""
        return f"{self.kind}_{self.value}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what ``str`` gives. Raise ValueError for anything else."""
        kind, _, value = text.partition("_")
        if not value:
            raise ValueError("no end")
        return cls(EndKind(kind), value)


@dataclass(frozen=True, slots=True)
class Edge:
    """Two ends that one event named."""

    one: End
    """The smaller."""
    other: End

    @classmethod
    def between(cls, one: End, other: End) -> Self:
        """Return the edge of two ends, in whichever order."""
        return cls(min(one, other), max(one, other))

    @property
    def edge_id(self) -> str:
        """Its id, which says what it is: the same edge has the same id after a rebuild."""
        return "edg_" + _encoded(f"{self.one} {self.other}")

    @classmethod
    def of_id(cls, edge_id: str) -> Self:
        """Read an edge's id. Raise ValueError for what is none."""
        one, _, other = _decoded(edge_id, "edg_").partition(" ")
        edge = cls.between(End.of(one), End.of(other))
        if edge.edge_id != edge_id:
            raise ValueError("no edge")
        return edge


def value_id(end: End) -> str:
    """Return the id of an end as a value that many may share."""
    return "val_" + _encoded(str(end))


def end_of_value_id(text: str) -> End:
    """Read it. Raise ValueError for what is none."""
    end = End.of(_decoded(text, "val_"))
    if value_id(end) != text:
        raise ValueError("no value")
    return end


def person_id_of(ends: Collection[End]) -> str:
    """Return the id of the person of these ends: that of the first visitor, where there is one. Empty for nobody."""
    own = [end for end in ends if end.kind is EndKind.VISITOR] or ends
    return "psn_" + _encoded(str(min(own))) if own else ""


def end_of_person(text: str) -> End:
    """Return an end of the person that has, or had, this id, or of the visitor with this id. Raise ValueError."""
    if not text.startswith("psn_"):
        return End(EndKind.VISITOR, text)
    end = End.of(_decoded(text, "psn_"))
    if person_id_of([end]) != text:
        raise ValueError("no person")
    return end


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(text: str, prefix: str) -> str:
    if not text.startswith(prefix) or not text.isascii():
        raise ValueError("another id")
    rest = text.removeprefix(prefix)
    return base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4)).decode()


def is_known_visitor(user_id: str) -> bool:
    """Tell whether an id is a visitor's of whom we know more than address and browser."""
    return bool(user_id) and not user_id.startswith(_DAILY)


class EndHasher:
    """Makes ends of what events name. Each organisation has a key of its own: equal values of two never meet."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: dict[str, bytes] = {}
        self.edition = "1-" + hmac.digest(secret, b"trellis identity edition", hashlib.sha256)[:4].hex()
        """Which rules and key made an edge: edges of another edition are not looked at."""

    def end(self, organization_id: str, kind: EndKind, value: str) -> End:
        """Return the end of a value, which is not kept."""
        key = self._keys.get(organization_id)
        if key is None:
            key = hmac.digest(self._secret, f"trellis identity 1 {organization_id}".encode(), hashlib.sha256)
            self._keys[organization_id] = key
        return End(kind, hmac.digest(key, f"{kind}\0{value}".encode(), hashlib.sha256)[:_HASH_BYTES].hex())

    def ends(self, organization_id: str, named: Identifiers, order_id: str, click_ids: Sequence[str] = ()) -> list[End]:
        """Return the ends of what an event names beside its own visitor, those first that say most of who it is."""
        ends = [End(EndKind.VISITOR, named.visitor_id)] if is_known_visitor(named.visitor_id) else []
        if named.login:
            ends.append(self.end(organization_id, EndKind.LOGIN, named.login))
        if named.email_hash:
            ends.append(self.end(organization_id, EndKind.EMAIL, named.email_hash))
        if names_somebody(order_id):
            ends.append(self.end(organization_id, EndKind.ORDER, order_id))
        return ends + [self.end(organization_id, EndKind.CLICK, click_id) for click_id in click_ids]


def edges_of(visitor_id: str, event_id: str, ends: list[End], *, is_conversion: bool) -> list[Edge]:
    """Return the edges of one event: a star around its visitor; around itself, where a conversion has none; else around
    the first of the ends.
    """
    if is_known_visitor(visitor_id):
        hub, rest = End(EndKind.VISITOR, visitor_id), ends
    elif is_conversion:
        # One that names clicks alone is in the journey of who made them without any edge.
        hub, rest = End(EndKind.EVENT, event_id), ends if any(end.kind is not EndKind.CLICK for end in ends) else []
    elif ends:
        hub, rest = ends[0], ends[1:]
    else:
        return []
    return [Edge.between(hub, end) for end in rest if end != hub]
