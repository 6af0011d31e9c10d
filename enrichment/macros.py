"""Finds macros that nobody replaced: ``{clickid}`` arrived literally and names nothing."""

import re

LONGEST_BYTES = 128

SUSPECT_FIRST = frozenset(b"{[%_#$(RnuN- \t\n\r\x0b\x0c")
SUSPECT_LAST = frozenset(b"rLD}# \t\n\r\x0b\x0c")
"""A value that is a macro begins with a byte of the first set or ends with one of the second (``…_placeholder``)."""

_WRITTEN = (
    r"(?:\{+[$%]?[\w.:\-() ]+%?\}+|\[+[+=:]{0,2}[\w .]+[+=:]{0,2}\]+|%\w+%|%\{\w+\}|__\w+__|#{1,3}[\w()]+#{1,3}"
    r"|\$\{\w+\}|\$[A-Za-z_]\w*|\(S_\w+\)|#\{[\w.]+\}|REPLACE|null|undefined|NaN|\w+_placeholder)"
    r"(?:[_,x](?:\{\w+\}|##\w+##))*"
)
# Without delimiters, so each is named: words that sources are known to send in place of a value.
_LITERALS = ("OPTIONAL", "TAPGAGE_VAR_CLICKID", "-source-", "-campaign-", "-clickid-")
MACRO_PATTERNS = (_WRITTEN, *_LITERALS)
"""Expressions, the same in Python's bytes and in RE2, of which a macro matches one as a whole."""
_MACRO = re.compile(_WRITTEN.encode())
_NAMED = frozenset(literal.encode() for literal in _LITERALS)


def is_macro(value: bytes) -> bool:
    """True for a macro that arrived literally, blanks around it or not. ``value`` is decoded."""
    value = value.strip()
    return len(value) <= LONGEST_BYTES and (value in _NAMED or _MACRO.fullmatch(value) is not None)
