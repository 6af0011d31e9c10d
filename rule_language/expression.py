"""RE2 as ClickHouse's ``match`` runs it: UTF-8, dot matches all, expressions that either side can hold."""

from typing import Protocol, cast

import re2

_MOST_MEMORY_BYTES = 1 << 20  # ClickHouse gives an expression 8 MiB: what fits here, fits there


class Expression(Protocol):
    """A compiled expression."""

    def search(self, text: bytes) -> object | None:
        """Return something when the expression matches anywhere in the text."""
        ...


def written_for_both(pattern: str, *, folds_case: bool) -> str:
    """Say in the expression itself whether case counts.

    Any flag of case at its beginning keeps ClickHouse from looking for a literal part of the expression first, which
    releases before this one get wrong for some (`(?P<name>…)`, `\\x41…`).
    """
    return ("(?i)" if folds_case else "(?-i)") + pattern


def compile_expression(pattern: str, *, folds_case: bool) -> Expression:
    """Compile for the closure. Raise ValueError, with RE2's reason, when either side could not hold it."""
    try:
        re2.compile(pattern, _options(never_capture=True))  # first as it was written, for a reason in its own words
        written = written_for_both(pattern, folds_case=folds_case)
        re2.compile(written, _options(never_capture=False))  # as ClickHouse does: groups take memory
        return cast("Expression", re2.compile(written, _options(never_capture=True)))
    except re2.error as error:
        raise ValueError(f"is no RE2 expression: {_reason(error, pattern)}") from None


def _options(*, never_capture: bool) -> re2.Options:
    options = re2.Options()
    options.dot_nl = True
    options.never_capture = never_capture
    options.log_errors = False
    options.max_mem = _MOST_MEMORY_BYTES
    return options


def _reason(error: Exception, pattern: str) -> str:
    """RE2 names the fragment that it stumbled over, not its place: find it if it is there once."""
    said = error.args[0] if error.args else ""
    message = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    fragment = message.partition(": ")[2]
    if fragment and fragment != pattern and pattern.count(fragment) == 1:
        return f"{message} (at character {pattern.index(fragment) + 1})"
    return message
