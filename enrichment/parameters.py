"""Reads parameters and finds in them what we have a name for: by alias, left to right, never touching the raw."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from enrichment.aliases import DEFAULT, FREE_SUB_IDS
from enrichment.macros import SUSPECT_FIRST, SUSPECT_LAST, is_macro

_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
Pair = tuple[bytes, ...]
"""Name and value."""


@dataclass(slots=True)
class Parameters:
    """The parameters of one event, decoded once. Names compare without case (ASCII); the first of a name counts."""

    first: dict[bytes, tuple[bytes, ...]]
    """By name in lower case: the name as it was sent, and its first value."""
    macros: list[bytes]
    """Names, as sent, whose value is a literal macro: empty to every reading."""
    double_encoded: list[bytes]
    """Names, as sent, whose value is still percent-encoded after it was decoded."""

    def get(self, name: bytes) -> bytes:
        """Return the usable value of a name in lower case, blanks around it cut, or empty bytes."""
        found = self.first.get(name)
        return b"" if found is None or found[0] in self.macros else found[1].strip()


class Found(NamedTuple):
    """A value that got one of our names."""

    value: bytes
    """Blanks around it cut, else as sent: ids keep their case."""
    name: bytes
    """The raw parameter it came from, as sent."""
    is_ambiguous: bool
    """Other senders mean something else by that parameter: believe it when a look-up by value agrees."""


def parse_query(query: bytes) -> Parameters:
    """Read the query of a URL or a form body: ``%xx`` decoded once, ``+`` as a blank."""
    return _read(query_pairs(query), may_be_encoded=b"%25" in query)


def query_pairs(query: bytes) -> list[Pair]:
    """Return name and value of each parameter, in order, decoded as ``parse_query`` does."""
    if b"+" in query:
        query = query.replace(b"+", b" ")
    pairs: list[Pair] = [piece.partition(b"=")[::2] for piece in query.split(b"&") if piece]
    if b"%" not in query:
        return pairs
    return [pair if b"%" not in pair[1] and b"%" not in pair[0] else _decoded(pair) for pair in pairs]


def from_pairs(pairs: Iterable[Pair]) -> Parameters:
    """Read pairs that are decoded already, such as those of a JSON body."""
    return _read(pairs, may_be_encoded=True)


def _read(pairs: Iterable[Pair], *, may_be_encoded: bool) -> Parameters:
    first: dict[bytes, tuple[bytes, ...]] = {}
    macros: list[bytes] = []
    double_encoded: list[bytes] = []
    suspect_first, suspect_last = SUSPECT_FIRST, SUSPECT_LAST
    for pair in pairs:
        name, value = pair
        if first.setdefault(name.lower(), pair) is not pair or not value:
            continue
        # Called for few values only: this runs for every parameter of every event.
        if (value[0] in suspect_first or value[-1] in suspect_last) and is_macro(value):
            macros.append(name)
        elif may_be_encoded and b"%" in value and _ESCAPE.search(value):
            double_encoded.append(name)
    return Parameters(first, macros, double_encoded)


def decoded_again(value: bytes) -> bytes:
    """Return a double-encoded value decoded once more. For matching only: the value itself stays as it is."""
    return unquote_to_bytes(value)


def _decoded(pair: Pair) -> Pair:
    return tuple(map(unquote_to_bytes, pair))


class Aliases:
    """Which raw parameters a canonical field may come from, the best first."""

    def __init__(self, names_by_field: Mapping[str, Sequence[str]]) -> None:
        self._table = {
            field: tuple(dict.fromkeys(name.lower().encode() for name in names))
            for field, names in names_by_field.items()
        }
        places: dict[bytes, list[tuple[str, int]]] = {}
        for field, names in self._table.items():
            for rank, name in enumerate(names):
                places.setdefault(name, []).append((field, rank))
        free = {name.encode() for name in FREE_SUB_IDS}
        self._targets = {name: (tuple(to), len(to) > 1 or name in free) for name, to in places.items()}

    def preferring(self, names_by_field: Mapping[str, Sequence[str]]) -> "Aliases":
        """Return these aliases with an organisation's own names before them; fields may be new."""
        merged: dict[str, Sequence[str]] = {
            field: [name.decode() for name in names] for field, names in self._table.items()
        }
        for field, names in names_by_field.items():
            merged[field] = [*names, *merged.get(field, ())]
        return Aliases(merged)

    def resolve(self, parameters: Parameters) -> dict[str, Found]:
        """Return what each field is: the first alias whose value is neither empty nor a macro."""
        found: dict[str, Found] = {}
        ranks: dict[str, int] = {}
        targets, macros = self._targets, parameters.macros
        for folded, (name, raw) in parameters.first.items():
            target = targets.get(folded)
            if target is None or name in macros or not (value := raw.strip()):
                continue
            places, is_ambiguous = target
            for field, rank in places:
                if field not in ranks or rank < ranks[field]:
                    ranks[field] = rank
                    found[field] = Found(value, name, is_ambiguous)
        return found

    def candidates(self, parameters: Parameters, field: str) -> tuple[Found, ...]:
        """Return every value that ``field`` may be, the best first: for a look-up by value."""
        return tuple(self._found(parameters, folded) for folded in self._table.get(field, ()) if parameters.get(folded))

    def _found(self, parameters: Parameters, folded: bytes) -> Found:
        name, value = parameters.first[folded]
        return Found(value.strip(), name, self._targets[folded][1])


DEFAULT_ALIASES = Aliases(DEFAULT)
"""What we read without being told."""
