"""What a failed statement of a tenant tells: by the engine's code alone, as its texts quote rows and our own tables."""

import re
from collections.abc import Mapping

from clickhouse_connect.driver.exceptions import Error

from analytics_svc.sql_guard import SqlRefusedError
from svc_runtime.errors import QueryLimitError, RateLimitedError, TrellisError, UnavailableError

_NARROW = "narrow it down by event_time, read fewer columns, or group by less"
LIMITS = {
    128: f"the statement makes an array that is larger than it may be: {_NARROW}",
    131: f"the statement makes a text that is larger than it may be: {_NARROW}",
    158: f"the statement would read more rows than it may: {_NARROW}",
    159: f"the statement ran longer than it may: {_NARROW}",
    160: f"the statement would run longer than it may: {_NARROW}",
    161: "the answer has more columns than it may: name those that are wanted",
    162: "the statement has more subqueries within each other than it may: join them, or use WITH",
    167: "the statement's expressions are nested deeper than they may be: use WITH",
    168: "the statement is larger, once its names are filled in, than it may be: repeat fewer of its parts",
    173: f"the statement needs more memory than it may have: {_NARROW}",
    191: f"the statement keeps more values to the right of IN, or in a JOIN, than it may: {_NARROW}",
    241: f"the statement needs more memory than it may have: {_NARROW}",
    229: "the statement is larger, once its names are filled in, than it may be: repeat fewer of its parts",
    290: f"the statement is over a limit of the engine: {_NARROW}",
    306: "the statement's expressions are nested deeper than they may be: use WITH",
    307: f"the statement would read more bytes than it may: {_NARROW}",
    396: f"the answer, or what the statement puts aside on disk, is larger than it may be: add LIMIT, or {_NARROW}",
}
_LIMIT_OF = {
    158: ("max_rows_to_read", "rows"),
    159: ("max_execution_time", "s"),
    160: ("max_execution_time", "s"),
    173: ("max_memory_usage", "bytes"),
    241: ("max_memory_usage", "bytes"),
    307: ("max_bytes_to_read", "bytes"),
}
"""By the engine's code the setting that says how much it may be, and its unit."""
_REFUSALS = {
    "compare and combine values of one kind, or convert them: toString, toFloat64, CAST": {
        43: "ILLEGAL_TYPE_OF_ARGUMENT",
        50: "UNKNOWN_TYPE",
        53: "TYPE_MISMATCH",
        68: "CANNOT_GET_SIZE_OF_FIELD",
        70: "CANNOT_CONVERT_TYPE",
        122: "INCOMPATIBLE_COLUMNS",
        124: "INCORRECT_ELEMENT_OF_SET",
        169: "BAD_TYPE_OF_FIELD",
        170: "BAD_GET",
        321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
        377: "ILLEGAL_SYNTAX_FOR_DATA_TYPE",
        378: "DATA_TYPE_CANNOT_HAVE_ARGUMENTS",
        386: "NO_COMMON_TYPE",
        455: "SUSPICIOUS_TYPE_FOR_LOW_CARDINALITY",
        691: "UNKNOWN_ELEMENT_OF_ENUM",
    },
    "a text does not have the form that is asked for; the functions that end with OrNull give NULL for it": {
        6: "CANNOT_PARSE_TEXT",
        25: "CANNOT_PARSE_ESCAPE_SEQUENCE",
        26: "CANNOT_PARSE_QUOTED_STRING",
        27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        32: "ATTEMPT_TO_READ_AFTER_EOF",
        38: "CANNOT_PARSE_DATE",
        41: "CANNOT_PARSE_DATETIME",
        72: "CANNOT_PARSE_NUMBER",
        117: "INCORRECT_DATA",
        130: "CANNOT_READ_ARRAY_FROM_TEXT",
        376: "CANNOT_PARSE_UUID",
        441: "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING",
        467: "CANNOT_PARSE_BOOL",
        632: "UNEXPECTED_DATA_AFTER_PARSED_VALUE",
        675: "CANNOT_PARSE_IPV4",
        676: "CANNOT_PARSE_IPV6",
    },
    "name columns that the tables of the statement have, with the table before it where two have one": {
        8: "THERE_IS_NO_COLUMN",
        10: "NOT_FOUND_COLUMN_IN_BLOCK",
        15: "DUPLICATE_COLUMN",
        16: "NO_SUCH_COLUMN_IN_TABLE",
        47: "UNKNOWN_IDENTIFIER",
        51: "EMPTY_LIST_OF_COLUMNS_QUERIED",
        52: "COLUMN_QUERIED_MORE_THAN_ONCE",
        206: "ALIAS_REQUIRED",
        207: "AMBIGUOUS_IDENTIFIER",
        352: "AMBIGUOUS_COLUMN_NAME",
        703: "INVALID_IDENTIFIER",
    },
    "what is not aggregated stands in GROUP BY; an aggregate stands neither in WHERE nor within another one": {
        184: "ILLEGAL_AGGREGATION",
        215: "NOT_AN_AGGREGATE",
    },
    "give each expression an alias of its own, made of something else": {
        57: "TABLE_ALREADY_EXISTS",
        174: "CYCLIC_ALIASES",
        179: "MULTIPLE_EXPRESSIONS_FOR_ALIAS",
    },
    "ClickHouse's page about the function says what it takes": {
        1: "UNSUPPORTED_METHOD",
        2: "UNSUPPORTED_PARAMETER",
        11: "POSITION_OUT_OF_BOUND",
        12: "PARAMETER_OUT_OF_BOUND",
        34: "TOO_MANY_ARGUMENTS_FOR_FUNCTION",
        35: "TOO_FEW_ARGUMENTS_FOR_FUNCTION",
        36: "BAD_ARGUMENTS",
        42: "NUMBER_OF_ARGUMENTS_DOESNT_MATCH",
        44: "ILLEGAL_COLUMN",
        46: "UNKNOWN_FUNCTION",
        63: "UNKNOWN_AGGREGATE_FUNCTION",
        69: "ARGUMENT_OUT_OF_BOUND",
        127: "ILLEGAL_INDEX",
        129: "FUNCTION_IS_SPECIAL",
        133: "AGGREGATE_FUNCTION_DOESNT_ALLOW_PARAMETERS",
        134: "PARAMETERS_TO_AGGREGATE_FUNCTIONS_MUST_BE_LITERALS",
        309: "FUNCTION_CANNOT_HAVE_PARAMETERS",
        446: "FUNCTION_NOT_ALLOWED",
        503: "AGGREGATE_FUNCTION_THROW",
        721: "DEPRECATED_FUNCTION",
    },
    "elements of arrays and tuples count from 1": {
        135: "ZERO_ARRAY_OR_TUPLE_INDEX",
        282: "INCORRECT_INDEX",
        353: "INDEX_OF_POSITIONAL_ARGUMENT_IS_OUT_OF_RANGE",
    },
    "arrays that go together have one length": {
        9: "SIZES_OF_COLUMNS_DOESNT_MATCH",
        190: "SIZES_OF_ARRAYS_DONT_MATCH",
    },
    "both sides must have the same columns": {
        7: "INCORRECT_NUMBER_OF_COLUMNS",
        13: "SIZES_OF_COLUMNS_IN_TUPLE_DOESNT_MATCH",
        20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
        258: "UNION_ALL_RESULT_STRUCTURES_MISMATCH",
        596: "INTERSECT_OR_EXCEPT_RESULT_STRUCTURES_MISMATCH",
    },
    "ON compares columns of one table with columns of the other": {
        121: "UNSUPPORTED_JOIN_KEYS",
        264: "INCOMPATIBLE_TYPE_OF_JOIN",
        403: "INVALID_JOIN_ON_EXPRESSION",
    },
    "a SELECT that stands for one value gives one row: add LIMIT 1": {
        125: "INCORRECT_RESULT_OF_SCALAR_SUBQUERY",
    },
    "a condition is true, false or NULL, for example a comparison": {
        59: "ILLEGAL_TYPE_OF_COLUMN_FOR_FILTER",
        182: "ILLEGAL_PREWHERE",
    },
    "divide by nullIf(x, 0), or use intDivOrZero": {
        153: "ILLEGAL_DIVISION",
    },
    "convert to Float64, or divide first": {
        407: "DECIMAL_OVERFLOW",
    },
    "use ifNull, or a Nullable type": {
        349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    },
    "patterns are written as RE2 has them": {
        427: "CANNOT_COMPILE_REGEXP",
        447: "HYPERSCAN_CANNOT_SCAN_TEXT",
    },
    "LIMIT and OFFSET take a whole number": {
        440: "INVALID_LIMIT_EXPRESSION",
    },
    "give each parameter a value of the type that its placeholder names": {
        456: "UNKNOWN_QUERY_PARAMETER",
        457: "BAD_QUERY_PARAMETER",
    },
    "the engine does not take it as it is: write it in another way": {
        37: "UNKNOWN_ELEMENT_IN_AST",
        48: "NOT_IMPLEMENTED",
        62: "SYNTAX_ERROR",
        80: "INCORRECT_QUERY",
        152: "UNKNOWN_DIRECTION_OF_SORTING",
        183: "UNEXPECTED_EXPRESSION",
        223: "UNEXPECTED_AST_STRUCTURE",
        344: "SUPPORT_IS_DISABLED",
        498: "LIMIT_BY_WITH_TIES_IS_NOT_SUPPORTED",
        527: "NO_SUITABLE_FUNCTION_IMPLEMENTATION",
        628: "OFFSET_FETCH_WITHOUT_ORDER_BY",
        728: "UNEXPECTED_DATA_TYPE",
    },
}
"""What helps, by the engine's code and name of what is wrong with a statement."""
_HINTS = {code: hint for hint, codes in _REFUSALS.items() for code in codes}
NAMES = {code: name for codes in _REFUSALS.values() for code, name in codes.items()}
_TOO_MANY_QUERIES = 202
_CODE = re.compile(r"Code: (\d+)\.")


def code_of(error: Exception) -> int | None:
    """Return the engine's code of an error; None where it is not the engine's."""
    if isinstance(error, Error):
        return error.code
    found = _CODE.search(str(error))
    return int(found[1]) if found else None


def translate_statement(error: Exception, settings: Mapping[str, str]) -> TrellisError:
    """Turn an error of a tenant's statement, which ran with these settings, into ours."""
    code = code_of(error)
    if code in LIMITS:
        return QueryLimitError(_with_limit(LIMITS[code], *_LIMIT_OF.get(code, ("", "")), settings))
    if code in NAMES:
        return SqlRefusedError(
            f"the engine cannot run the statement: {NAMES[code]} ({code})", None, allowed=_HINTS[code]
        )
    if code == _TOO_MANY_QUERIES:
        return RateLimitedError("the store runs as many queries as it takes: ask again later")
    return UnavailableError(f"ClickHouse did not do it ({f'code {code}' if code else type(error).__name__})")


def _with_limit(text: str, setting: str, unit: str, settings: Mapping[str, str]) -> str:
    """Say how much it is, where that is known: before what helps."""
    return text.replace(":", f" ({settings[setting]} {unit}):", 1) if setting in settings else text
