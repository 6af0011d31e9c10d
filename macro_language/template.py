"""Reads templates, and fills them in."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote_from_bytes

MOST_MACROS = 50
LONGEST_VALUE_BYTES = 2048
"""Of what a macro stands for, before it is encoded; the rest is cut."""
PARAM, HEADER = "param:", "header:"

_MACRO = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DEFAULT = "default:"

Transform = Callable[[bytes], bytes]
TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        "lower": bytes.lower,
        "upper": bytes.upper,
        "trim": bytes.strip,
        "urlencode": lambda value: quote_from_bytes(value, safe="").encode(),
        "md5": lambda value: hashlib.md5(value, usedforsecurity=False).hexdigest().encode(),
        "sha256": lambda value: hashlib.sha256(value).hexdigest().encode(),
    }
)
"""From left to right, of what there is; a default is not transformed."""


@dataclass(frozen=True, slots=True)
class Macro:
    """A place in a template."""

    name: str
    """Canonical: an alias is resolved, the name of a header is in lower case."""
    transforms: tuple[str, ...] = ()
    default: bytes = b""

    def fill(self, value: bytes) -> bytes:
        """Return what stands in the place of this macro when its value is ``value``; empty: there is none."""
        if not value:
            return quote_from_bytes(self.default, safe="").encode()
        value = value[:LONGEST_VALUE_BYTES]
        for transform in self.transforms:
            value = TRANSFORMS[transform](value)
        return quote_from_bytes(value, safe="").encode()


@dataclass(frozen=True, slots=True)
class Template:
    """Text and macros, in their order."""

    parts: tuple[bytes | Macro, ...]

    @property
    def macros(self) -> tuple[Macro, ...]:
        """The macros, in their order."""
        return tuple(part for part in self.parts if isinstance(part, Macro))

    def fill(self, value_of: Callable[[str], bytes]) -> bytes:
        """Return the text; ``value_of`` gives the value of a macro by its name, empty where there is none."""
        return b"".join(part if isinstance(part, bytes) else part.fill(value_of(part.name)) for part in self.parts)


def read_template(text: str, names: frozenset[str], aliases: Mapping[str, str], problems: list[str]) -> Template:
    """Read a template whose macros are ``names``, ``param:<name>`` or ``header:<name>``.

    ``aliases`` gives other spellings of names. What is wrong is added to ``problems``, in words for people.
    """
    parts: list[bytes | Macro] = []
    at = 0
    for found in _MACRO.finditer(text):
        _add_text(parts, text[at : found.start()], problems)
        macro = _read_macro(found[1], names, aliases, problems)
        if macro is not None:
            parts.append(macro)
        at = found.end()
    _add_text(parts, text[at:], problems)
    if sum(isinstance(part, Macro) for part in parts) > MOST_MACROS:
        problems.append(f"has more than {MOST_MACROS} macros")
    return Template(tuple(parts))


def without_macros(text: str) -> str:
    """Return the text with a plain word in each macro's place."""
    return _MACRO.sub("macro", text)


def _add_text(parts: list[bytes | Macro], text: str, problems: list[str]) -> None:
    if "{" in text or "}" in text:
        problems.append("has a { or } that belongs to no macro: write %7B and %7D")
    if text:
        parts.append(text.encode())


def _read_macro(body: str, names: frozenset[str], aliases: Mapping[str, str], problems: list[str]) -> Macro | None:
    written, *rest = body.split("|")
    name = _canonical(written.strip(), names, aliases)
    if not name:
        known = ", ".join(sorted(names))
        problems.append(f"has the macro {{{written[:40]}}}; there are {known}, param:<name> and header:<name>")
        return None
    transforms, defaults = [], []
    for piece in rest:
        if piece in TRANSFORMS:
            transforms.append(piece)
        else:
            defaults.append(piece.removeprefix(_DEFAULT))
    if len(defaults) > 1:
        problems.append(f"has two defaults in {{{written[:40]}}}: {defaults[0][:40]!r} and {defaults[1][:40]!r}")
        return None
    return Macro(name, tuple(transforms), defaults[0].encode() if defaults else b"")


def _canonical(written: str, names: frozenset[str], aliases: Mapping[str, str]) -> str:
    if written.startswith(PARAM) and 0 < len(written.encode()) - len(PARAM) <= 256:
        return written
    if written.startswith(HEADER) and re.fullmatch(r"[A-Za-z0-9!#$&'*+.^_`~-]{1,256}", written.removeprefix(HEADER)):
        return written.lower()
    name = aliases.get(written, written)
    return name if name in names and _NAME.fullmatch(name) else ""
