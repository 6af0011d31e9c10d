"""The ClickHouse error codes that we know: what they say about an insert is decided here, and never by a text.

Texts quote values of rows, so they are neither logged nor stored; the code's name is.
"""

import enum


class Verdict(enum.Enum):
    """What a failed statement means for us."""

    CONTENT = "content"
    """The rows cannot be stored as they are: trying again is of no use."""
    TOO_SLOW = "too_slow"
    """The statement went over its time."""
    UNAVAILABLE = "unavailable"
    """The store cannot do it now: try again, the same rows under the same token."""


CONTENT_NAMES = {
    6: "CANNOT_PARSE_TEXT",
    25: "CANNOT_PARSE_ESCAPE_SEQUENCE",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    407: "DECIMAL_OVERFLOW",
    436: "PROTOBUF_BAD_CAST",
    444: "UNKNOWN_PROTOBUF_FORMAT",
    469: "VIOLATED_CONSTRAINT",
}
"""Codes by which ClickHouse refuses rows for what is in them."""

TOO_SLOW_NAMES = {159: "TIMEOUT_EXCEEDED"}
"""Codes of a statement that went over its own time limit."""

NAMELESS = "UNREADABLE_TEXT"
"""Stands for a code that chDB lost, because its text quotes bytes of a row that are not UTF-8."""


def verdict(code: int | None) -> Verdict:
    """Judge a code. One that we do not know, and a lost connection (None), may pass: nothing is given up for it."""
    if code in CONTENT_NAMES:
        return Verdict.CONTENT
    if code in TOO_SLOW_NAMES:
        return Verdict.TOO_SLOW
    return Verdict.UNAVAILABLE
