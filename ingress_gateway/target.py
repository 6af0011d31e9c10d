"""A destination, taken apart once, and the Location that it makes with what a click brought along."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from macro_language.names import ALIASES, CLICK
from macro_language.template import Template, read_template, without_macros

# What may stand in a Location as it is; anything else that a client sent is percent-encoded.
_UNSAFE = re.compile(rb"[^\x21-\x7e]|#")
# A publishable key in the query says who owns the link; the destination has no business with it.
_KEY_PARAMETER = re.compile(rb"(?:^|&)(?:k|key|api_key|write_key|writeKey)=wdn_[A-Za-z0-9_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A destination, taken apart once."""

    base: bytes
    """Scheme to path, as the Location will begin."""
    own_query: bytes
    fragment: bytes
    """With its `#`, or empty."""
    own_names: frozenset[bytes]
    """Decoded names of its own parameters: they win over incoming ones."""
    template: Template | None = None
    """Of its own query, where that has macros."""
    has_click_id: bool = False
    """It hands our click id on by itself."""
    host: str = ""
    """In lower case, without port."""

    @classmethod
    def compile(cls, url: str) -> "Target":
        """Take an absolute URL apart; raise ValueError for anything else."""
        scheme, separator, rest = url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest:
            raise ValueError("the destination is no absolute http(s) URL")
        # Macros stand in the query alone; the text of one may hold what ends a query elsewhere.
        before, _, query = url.partition("?")
        fragment = ""
        template = None
        if "#" in before:
            before, _, fragment = url.partition("#")
            query = ""
        elif "{" in query:
            template, query, fragment = _macros(query)
        else:
            query, _, fragment = query.partition("#")
        parts = urlsplit(before)
        if not parts.netloc:
            raise ValueError("the destination is no absolute http(s) URL")
        own_names = frozenset(name for name, _ in split_query(query.encode()))
        return cls(
            base=f"{parts.scheme}://{parts.netloc}{parts.path or '/'}".encode(),
            own_query=query.encode(),
            fragment=b"#" + fragment.encode() if fragment else b"",
            own_names=own_names,
            template=template,
            has_click_id=b"click_id" in own_names
            or (template is not None and any(macro.name == "click_id" for macro in template.macros)),
            host=parts.hostname or "",
        )

    def location(
        self,
        incoming_query: bytes,
        click_id: str,
        *,
        names: frozenset[bytes] | None = None,
        value_of: Callable[[str], bytes] | None = None,
    ) -> bytes:
        """Return the Location for a request's raw query.

        The incoming parameters ``names`` (None: all) go along as they came, but those that the destination sets itself;
        our click id is added where none came. Only the query can be influenced by the request: ``value_of`` fills its
        macros in.
        """
        own = self.own_query
        if self.template is not None:
            own = self.template.fill(value_of or _nothing)
        pieces = [own] if own else []
        has_click_id = self.has_click_id
        if incoming_query and names != _NO_NAMES:
            if b"wdn_" in incoming_query:
                incoming_query = _KEY_PARAMETER.sub(b"", incoming_query).lstrip(b"&")
            if self.own_names or names is not None:
                incoming_query = b"&".join(
                    piece
                    for name, piece in split_query(incoming_query)
                    if name not in self.own_names and (names is None or name in names)
                )
            if incoming_query:
                pieces.append(_UNSAFE.sub(_percent, incoming_query))
                has_click_id = has_click_id or _has_click_id(incoming_query)
        if not has_click_id:
            pieces.append(b"click_id=" + click_id.encode())
        return b"".join((self.base, b"?", b"&".join(pieces), self.fragment))


def split_query(query: bytes) -> list[tuple[bytes, bytes]]:
    """Return (decoded name, raw piece) of each parameter, in order."""
    return [
        (unquote_to_bytes(piece.partition(b"=")[0].replace(b"+", b" ")), piece) for piece in query.split(b"&") if piece
    ]


def _has_click_id(query: bytes) -> bool:
    return query.startswith(b"click_id=") or b"&click_id=" in query


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


_NO_NAMES: frozenset[bytes] = frozenset()


def _nothing(_: str) -> bytes:
    return b""


def _macros(query: str) -> tuple[Template, str, str]:
    """Return the template of a query, the query with words in the macros' places, and the fragment behind it."""
    problems: list[str] = []
    plain = without_macros(query)
    plain, _, fragment = plain.partition("#")
    template = read_template(query.removesuffix(f"#{fragment}") if fragment else query, CLICK, ALIASES, problems)
    if problems:
        raise ValueError(f"the destination {problems[0]}")
    return template, plain, fragment
