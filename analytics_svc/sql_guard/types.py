"""The types that a statement may name, in CAST, `::` and placeholders."""

import re

from sqlglot import exp

from analytics_svc.sql_guard.refusal import refuse

_T = exp.DataType.Type
_SCALARS = {
    _T.BOOLEAN: "Bool",
    _T.TINYINT: "Int8",
    _T.SMALLINT: "Int16",
    _T.INT: "Int32",
    _T.BIGINT: "Int64",
    _T.INT128: "Int128",
    _T.INT256: "Int256",
    _T.UTINYINT: "UInt8",
    _T.USMALLINT: "UInt16",
    _T.UINT: "UInt32",
    _T.UBIGINT: "UInt64",
    _T.UINT128: "UInt128",
    _T.UINT256: "UInt256",
    _T.FLOAT: "Float32",
    _T.DOUBLE: "Float64",
    _T.TEXT: "String",
    _T.VARCHAR: "String",
    _T.CHAR: "String",
    _T.UUID: "UUID",
    _T.DATE: "Date",
    _T.DATE32: "Date32",
    _T.IPV4: "IPv4",
    _T.IPV6: "IPv6",
}
_WITH_PARAMETERS = {
    _T.DATETIME: "DateTime",
    _T.TIMESTAMP: "DateTime",
    _T.DATETIME64: "DateTime64",
    _T.DECIMAL: "Decimal",
    _T.FIXEDSTRING: "FixedString",
}
_NESTED = {
    _T.ARRAY: "Array",
    _T.MAP: "Map",
    _T.STRUCT: "Tuple",
    _T.LOWCARDINALITY: "LowCardinality",
}
_ZONE = re.compile(r"[A-Za-z0-9_+\-/]{1,40}")
_ALLOWED = "numbers, String, FixedString, Bool, Date, DateTime, UUID, IP, Nullable, Array, Map, Tuple, LowCardinality"


def type_text(node: exp.Expr) -> str:
    """Return ClickHouse's name of a type. Raises SqlRefusedError for a type that is not allowed."""
    if not isinstance(node, exp.DataType):
        raise refuse(node, "this is no type", _ALLOWED)
    kind, inner = node.this, node.expressions
    if kind in _SCALARS and (not inner or kind in (_T.VARCHAR, _T.CHAR)):
        text = _SCALARS[kind]
    elif kind in _WITH_PARAMETERS:
        text = _WITH_PARAMETERS[kind] + _parameters(inner)
    elif kind in _NESTED and inner:
        text = f"{_NESTED[kind]}({', '.join(map(type_text, inner))})"
    else:
        raise refuse(node, "this type cannot be used", _ALLOWED)
    return f"Nullable({text})" if node.args.get("nullable") else text


def _parameters(inner: list[exp.Expr]) -> str:
    return f"({', '.join(map(_parameter, inner))})" if inner else ""


def _parameter(node: exp.Expr) -> str:
    value = node.this if isinstance(node, exp.DataTypeParam) else node
    if isinstance(value, exp.Literal) and value.is_string and _ZONE.fullmatch(value.name):
        return f"'{value.name}'"
    if isinstance(value, exp.Literal) and not value.is_string and re.fullmatch(r"\d{1,6}", value.name):
        return str(value.name)
    raise refuse(node, "a type takes numbers and a time zone only", _ALLOWED)
