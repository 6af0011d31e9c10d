"""What a campaign may redirect to: an absolute http(s) URL that every parser reads the same way.

A destination is normalised once, when it is stored, to plain ASCII: scheme and host in lower case, international host
names in their `xn--` form, anything else that a Location header cannot carry percent-encoded as UTF-8. What parsers
are known to disagree about (user info, backslashes, white space, odd IPv4 spellings, hosts that change under Unicode
normalisation) is refused.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from macro_language.names import ALIASES, CLICK
from macro_language.template import read_template

MAX_CHARACTERS = 4096
MAX_HOST_CHARACTERS = 253

_MACRO = re.compile(r"\{[^{}]*\}")
_STAND_IN = "trellis-macro-"
_SCHEME = re.compile(r"(https?)://", re.IGNORECASE)
_ASCII_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NUMERIC_LABEL = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
# Printable ASCII that RFC 3986 does not allow and that browsers escape themselves, plus everything beyond ASCII.
_TO_ESCAPE = re.compile(r'["<>^`|]|[^\x00-\x7f]')


@dataclass(frozen=True, slots=True)
class Destination:
    """The outcome of reading a destination: its normal form, or every reason why there is none."""

    url: str
    """ASCII, at most 4,096 characters; empty where there are problems."""
    problems: tuple[str, ...] = ()
    """Everything that is wrong, in words for people; empty where it is right."""


def read_destination(text: str, *, takes_macros: bool = False, macro_names: frozenset[str] = CLICK) -> Destination:
    """Normalise ``text`` to a destination, or say everything that is wrong with it.

    With ``takes_macros`` the values of its query may hold macros of ``macro_names``; they stay as they are.
    """
    if len(text) > MAX_CHARACTERS:
        return Destination("", (f"has {len(text)} characters, {MAX_CHARACTERS} are allowed",))
    if takes_macros and ("{" in text or "}" in text):
        return _with_macros(text, macro_names)
    problems = list(_character_problems(text))
    scheme, authority, rest = _split(text)
    if not scheme:
        problems.append("must begin with http:// or https://")
        return Destination("", tuple(problems))
    host, host_problems = _read_authority(authority)
    problems += host_problems
    if _BAD_ESCAPE.search(rest):
        problems.append("has a % that begins no escape: write %25")
    if problems:
        return Destination("", tuple(problems))
    url = f"{scheme}://{host}{_TO_ESCAPE.sub(_escape, rest)}"
    if len(url) > MAX_CHARACTERS:
        return Destination("", (f"has {len(url)} characters after percent-encoding, {MAX_CHARACTERS} are allowed",))
    return Destination(url)


def own_host_problems(url: str, own_hosts: frozenset[str]) -> Iterator[str]:
    """Say whether a URL in normal form leads to one of the organisation's tracking hosts (lower case, no port)."""
    host = urlsplit(url).hostname or ""
    if host in own_hosts:
        yield f"leads to {host}, a tracking host of your own: the redirect would come back"


def _with_macros(text: str, macro_names: frozenset[str]) -> Destination:
    """Read a URL with macros: put words in their places, normalise, and put the macros back."""
    problems: list[str] = []
    template = read_template(text, macro_names, ALIASES, problems)
    macros: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        macros.append(found[0])
        return f"{_STAND_IN}{len(macros) - 1}-"

    if _STAND_IN in text.lower():
        problems.append(f"has the word {_STAND_IN!r}, which we need for ourselves")
    plain = read_destination(_MACRO.sub(stand_in, text))
    problems += plain.problems
    if problems:
        return Destination("", tuple(problems))
    before, _, query = plain.url.partition("?")
    query, _, fragment = query.partition("#")
    names = [piece.partition("=")[0] for piece in query.split("&")]
    if _STAND_IN in before or _STAND_IN in fragment or any(_STAND_IN in name for name in names):
        return Destination("", ("has a macro outside the values of its query: nothing else may come from a request",))
    assert len(template.macros) == len(macros)  # noqa: S101 - both read the same text
    return Destination(re.sub(f"{_STAND_IN}([0-9]+)-", lambda found: macros[int(found[1])], plain.url))


def _character_problems(text: str) -> Iterator[str]:
    if _has_control(text):
        yield "has a control character"
    # Some control characters count as white space too: they were named already.
    if any(character.isspace() and unicodedata.category(character) != "Cc" for character in text):
        yield "has white space: write %20"
    if "\\" in text:
        yield "has a backslash: write %5C"
    if "{" in text or "}" in text:
        yield "has { or }: no macros here"


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)


def _split(text: str) -> tuple[str, str, str]:
    match = _SCHEME.match(text)
    if match is None:
        return "", "", ""
    after = text[match.end() :]
    # A backslash ends the authority in browsers; it is refused anyway, but the host is to be named right.
    end = re.search(r"[/?#\\]", after)
    cut = end.start() if end else len(after)
    return match[1].lower(), after[:cut], after[cut:]


def _read_authority(authority: str) -> tuple[str, list[str]]:
    """Return ``host`` or ``host:port`` in normal form, and what is wrong."""
    problems: list[str] = []
    if "@" in authority:
        problems.append("has user information before the host")
        authority = authority.rpartition("@")[2]
    bracketed = re.fullmatch(r"(\[[^\]]*\])(?::(.*))?", authority, re.DOTALL)
    if bracketed is not None:
        host, port = bracketed[1], bracketed[2]
    else:
        host, colon, tail = authority.partition(":")
        port = tail if colon else None
    port_text, port_problem = _read_port(port)
    normal, host_problem = _read_host(host)
    problems += [problem for problem in (host_problem, port_problem) if problem]
    return normal + port_text, problems


def _read_port(port: str | None) -> tuple[str, str]:
    if port is None:
        return "", ""
    # isdecimal alone would take digits of other scripts.
    if port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535:
        return f":{int(port)}", ""
    return "", "has a port that is no number from 1 to 65535"


def _read_host(host: str) -> tuple[str, str]:
    if not host:
        return "", "has no host"
    if host.startswith("["):
        return _read_ipv6(host)
    lowered = host.lower()
    name, problem = (lowered, "") if lowered.isascii() else _to_ascii(lowered)
    if problem:
        return "", problem
    labels = name.split(".")
    if len(name) > MAX_HOST_CHARACTERS or not all(_is_label(label) for label in labels):
        return "", "has a host that is no valid host name"
    if _NUMERIC_LABEL.fullmatch(labels[-1]) and not _is_ipv4(name):
        return "", "has a host that ends like an IPv4 address but is none in its usual form, as 192.0.2.1"
    return name, ""


def _read_ipv6(host: str) -> tuple[str, str]:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return "", "has a host in brackets that is no IPv6 address"
    if address.scope_id is not None:
        return "", "has an IPv6 address with a zone"
    return f"[{address.compressed}]", ""


def _to_ascii(host: str) -> tuple[str, str]:
    # The codec follows IDNA 2003. Where browsers differ from it (ß, ς, joiners) the way back gives another name, or
    # none: such a host must be given in its xn-- form.
    try:
        encoded = host.encode("idna").decode("ascii")
        unchanged = unicodedata.is_normalized("NFKC", host) and encoded.encode("ascii").decode("idna") == host
    except UnicodeError:
        unchanged, encoded = False, ""
    if not unchanged:
        return "", "has a host that does not survive normalisation: give its xn-- form"
    return encoded, ""


def _is_label(label: str) -> bool:
    if not _ASCII_LABEL.fullmatch(label):
        return False
    if not label.startswith("xn--"):
        return True
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return False
    return not decoded.isascii() and unicodedata.is_normalized("NFC", decoded) and not _has_control(decoded)


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())
