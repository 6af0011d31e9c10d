"""Reads which language a client asks for."""

import re

LONGEST_BYTES = 256
_TAG = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{1,8}){0,4})", re.ASCII)


def read_language(header: bytes) -> str:
    """Return the first language of an ``Accept-Language`` such as ``en-US`` or ``zh-Hant-TW``; empty: it names none.

    The language is in lower case, a region in upper case, a script with a capital.
    """
    first = header[:LONGEST_BYTES].partition(b",")[0].partition(b";")[0].strip()
    found = _TAG.fullmatch(first.decode("latin-1"))
    if found is None:
        return ""
    subtags = found[2].replace("_", "-").split("-")[1:]
    return "-".join([found[1].lower(), *map(_subtag, subtags)])


def _subtag(subtag: str) -> str:
    if len(subtag) == 2 and subtag.isalpha():
        return subtag.upper()
    return subtag.capitalize() if len(subtag) == 4 and subtag.isalpha() else subtag.lower()
