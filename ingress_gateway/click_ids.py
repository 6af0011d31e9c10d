"""Finds the source's own click id in a query or a JSON object. Its case is kept: such ids are opaque."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

LONGEST = 512

# Left to right: the first that is there, not empty and no literal macro, wins. The rest stays in the raw request.
NAMES = (
    "click_id", "clickid", "cid", "subid", "sub_id", "aff_click_id", "external_id", "externalid",
    "gclid", "wbraid", "gbraid", "dclid", "fbclid", "ttclid", "msclkid", "twclid", "li_fat_id", "rdt_cid", "sccid",
    "epik", "yclid", "obclid", "irclickid", "cjevent", "awc", "tblci", "visit_id", "cnv_id", "uclick", "transaction_id",
    "tid", "sub1", "subid1", "sub_id1", "aff_sub",
)  # fmt: skip
_RANK = {name.encode(): rank for rank, name in enumerate(NAMES)}
_PAIR = re.compile(rb"(?:^|&)(" + b"|".join(name.encode() for name in NAMES) + rb")=([^&]+)", re.IGNORECASE)
_MACRO = re.compile(
    r"^(?:\{+[$%]?[\w.:\-() ]+%?\}+|\[+[+=:]{0,2}[\w .]+[+=:]{0,2}\]+|%\w+%|%\{\w+\}|__\w+__|#{1,3}[\w()]+#{1,3}"
    r"|\$\{\w+\}|\$[A-Za-z_]\w*|\(S_\w+\)|#\{[\w.]+\}|REPLACE|null|undefined|NaN|\w+_placeholder)$"
)


def in_query(query: bytes) -> bytes:
    """Return the source's click id in a raw query, decoded once, or empty bytes."""
    best_rank, best = len(NAMES), b""
    for found in _PAIR.finditer(query):
        rank = _RANK[found[1].lower()]
        if rank < best_rank:
            value = found[2]
            if b"%" in value or b"+" in value:
                value = unquote_to_bytes(value.replace(b"+", b" "))
            if not is_macro(value):
                best_rank, best = rank, value[:LONGEST]
                if rank == 0:
                    break
    return best


def in_object(item: Mapping[str, Any]) -> bytes:
    """Return the source's click id in a JSON object, or empty bytes."""
    lowered = {name.lower(): value for name, value in item.items() if isinstance(value, str | int)}
    for name in NAMES:
        value = lowered.get(name)
        if value not in (None, "") and not isinstance(value, bool):
            encoded = str(value).encode("utf-8", "surrogatepass")
            if not is_macro(encoded):
                return encoded[:LONGEST]
    return b""


def is_macro(value: bytes) -> bool:
    """True for a macro that nobody replaced, such as ``{clickid}``: it arrived literally and names nothing."""
    return value[:1] in b"{[%_#$(RnuN" and len(value) <= 128 and bool(_MACRO.match(value.decode("latin-1")))
