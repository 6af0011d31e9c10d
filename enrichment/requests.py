"""Takes a raw request apart: its header block, its target, its hosts."""

from enrichment.bodies import body_pairs
from enrichment.parameters import Pair, Parameters, from_pairs, parse_query, query_pairs
from enrichment.referrers import host_of

BLANKS = b" \t\n\r\x0b\x0c"
"""What is cut around a value: ASCII's blanks."""


def header_pairs(block: bytes) -> list[Pair]:
    """Return name, in lower case, and value of each header, in order; lines that are no header are passed over."""
    pairs: list[Pair] = []
    for line in block.split(b"\r\n"):
        colon = line.find(b":")
        if colon > 0:
            pairs.append((line[:colon].lower(), line[colon + 1 :].strip(b" \t")))
    return pairs


def first_values(pairs: list[Pair]) -> dict[bytes, bytes]:
    """Return the first value by name."""
    first: dict[bytes, bytes] = {}
    for name, value in pairs:
        first.setdefault(name, value)
    return first


def url_of(scheme: str, host: bytes, target: bytes) -> bytes:
    """Return the URL that was asked for; a target that is a URL itself is it."""
    return b"%b://%b%b" % (scheme.encode(), host, target) if target.startswith(b"/") else target


def path_of(target: bytes) -> bytes:
    """Return the path of a request target."""
    path = target.partition(b"?")[0]
    if path.startswith(b"/"):
        return path
    _, scheme, rest = path.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if scheme else path


def hostname(host: bytes) -> str:
    """Return the name in a Host header, in lower case, without its port; empty where it is none."""
    return host_of(b"//" + host) if host else ""


def sent_parameters(target: bytes, body: bytes, content_type: bytes) -> tuple[list[Pair], Parameters]:
    """Return all pairs, of the query and then of the body, and what they are read as."""
    query = target.partition(b"?")[2]
    pairs = query_pairs(query)
    if not body:
        return pairs, parse_query(query)
    pairs = pairs + body_pairs(body, content_type)
    return pairs, from_pairs(pairs)
