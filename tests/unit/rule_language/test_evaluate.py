"""Every operator over a fact that is known, empty, missing or unknown."""

from decimal import Decimal
from typing import Any

import pytest

from rule_language.evaluate import Facts, Verdict, compile_test
from rule_language.parse import predicate_from_json
from rule_language.predicate import fields_of
from svc_runtime.errors import Violation


def verdict(form: Any, facts: Facts, time_zone: str = "UTC") -> Verdict:
    violations: list[Violation] = []
    predicate = predicate_from_json(form, path="rule", violations=violations)
    assert predicate, violations
    return compile_test(predicate, time_zone=time_zone)(facts)


def condition(field: str, operator: str, *values: str) -> dict[str, Any]:
    return {"field": field, "operator": operator, "values": list(values)}


T, F, U = True, False, None
# operator, values, and the verdict on b"5 apples", b"", missing, unknown
TEXT_TABLE = [
    ("equals", ["5 apples"], (T, F, F, U)),
    ("equals", [""], (F, T, F, U)),
    ("not_equals", ["5 apples"], (F, T, T, U)),
    ("not_equals", [""], (T, F, T, U)),
    ("in", ["a", "5 apples"], (T, F, F, U)),
    ("not_in", ["a", "5 apples"], (F, T, T, U)),
    ("contains", ["x", "app"], (T, F, F, U)),
    ("not_contains", ["x", "app"], (F, T, T, U)),
    ("starts_with", ["5"], (T, F, F, U)),
    ("ends_with", ["s"], (T, F, F, U)),
    ("matches", ["^[0-9]"], (T, F, F, U)),
    ("matches", ["^$"], (F, T, F, U)),
    ("exists", [], (T, F, F, U)),
    ("not_exists", [], (F, T, T, U)),
]


@pytest.mark.parametrize(("operator", "values", "wanted"), TEXT_TABLE)
def test_a_text_operator_over_every_state_of_a_fact(
    operator: str, values: list[str], wanted: tuple[Verdict, ...]
) -> None:
    in_field = condition("referer", operator, *values)
    in_parameter = condition("param.q", operator, *values)
    in_header = condition("header.Q", operator, *values)
    for text, expected in zip((b"5 apples", b""), wanted, strict=False):
        assert verdict(in_field, Facts(0, {"referer": text})) is expected
        assert verdict(in_parameter, Facts(0, params={b"q": text})) is expected
        assert verdict(in_header, Facts(0, headers={b"q": text})) is expected
    assert verdict(in_parameter, Facts(0, params={b"Q": b"5 apples"})) is wanted[2]
    assert verdict(in_header, Facts(0)) is wanted[2]
    assert verdict(in_field, Facts(0)) is wanted[3]
    assert verdict(in_field, Facts(0, {"referer": None})) is wanted[3]


# operator, values, and the verdict on 5, 0, no value, unknown ASN
NUMBER_TABLE = [
    ("equals", ["5.0"], (T, F, F, U)),
    ("not_equals", ["5"], (F, T, T, U)),
    ("in", ["4", "5"], (T, F, F, U)),
    ("not_in", ["4", "5"], (F, T, T, U)),
    ("gt", ["4.999999999999999999"], (T, F, F, U)),
    ("gte", ["5"], (T, F, F, U)),
    ("lt", ["5.000000000000000001"], (T, T, F, U)),
    ("lte", ["5"], (T, T, F, U)),
    ("between", ["0", "5"], (T, T, F, U)),
    ("exists", [], (T, T, F, U)),
    ("not_exists", [], (F, F, T, U)),
]


@pytest.mark.parametrize(("operator", "values", "wanted"), NUMBER_TABLE)
def test_a_number_operator_over_every_state_of_a_fact(
    operator: str, values: list[str], wanted: tuple[Verdict, ...]
) -> None:
    of_value, of_asn = condition("value", operator, *values), condition("asn", operator, *values)
    assert verdict(of_value, Facts(0, {"value": Decimal(5)})) is wanted[0]
    assert verdict(of_value, Facts(0, {"value": 0})) is wanted[1]
    assert verdict(of_value, Facts(0, {"value": None})) is wanted[2]
    assert verdict(of_value, Facts(0)) is wanted[2]
    assert verdict(of_asn, Facts(0, {"asn": 5})) is wanted[0]
    assert verdict(of_asn, Facts(0, {"asn": 0})) is wanted[2], "0 is no ASN"
    assert verdict(of_asn, Facts(0)) is wanted[3]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *((text, T) for text in (b"5", b" 5 ", b"+5", b"05.00", b"5\r\n", b"\t5")),
        *(
            (text, F)
            for text in (b"6", b"", b"5.", b".5", b"1e0", b"0x5", b"5\0", b"5 5", b"NaN", b"inf", b"\xff5", b"5\v")
        ),
    ],
)
def test_a_parameter_is_a_number_by_one_strict_grammar(text: bytes, wanted: bool) -> None:
    assert verdict(condition("param.n", "between", "5", "5"), Facts(0, params={b"n": text})) is wanted


@pytest.mark.parametrize("operator", ["gt", "gte", "lt", "lte", "between"])
@pytest.mark.parametrize("text", [b"", b"1e400", b"9" * 39, b"nan"])
def test_a_comparison_with_what_is_no_number_is_false(operator: str, text: bytes) -> None:
    values = ["-9", "9"] if operator == "between" else ["0"]
    assert verdict(condition("param.n", operator, *values), Facts(0, params={b"n": text})) is False
    assert verdict(condition("param.n", operator, *values), Facts(0)) is False


@pytest.mark.parametrize(
    ("field", "fact", "value", "wanted"),
    [
        ("source", b"FaceBook", "facebook", T),
        ("country", b"DE", "de", T),
        ("city", "MÜNCHEN".encode(), "münchen", F),
        ("os", b"K", "\u212a", F),
        ("campaign", b"Summer", "summer", F),
        ("path", b"/A", "/a", F),
    ],
)
def test_case_counts_but_for_ascii_in_some_fields(field: str, fact: bytes, value: str, wanted: bool) -> None:
    facts = Facts(0, {field: fact})
    assert verdict(condition(field, "equals", value), facts) is wanted
    assert verdict(condition(field, "contains", value), facts) is wanted


def test_an_expression_matches_a_line_feed_by_a_dot_and_knows_the_ends_of_the_text() -> None:
    facts = Facts(0, {"url": b"a\nb", "source": b"Face"})
    assert verdict(condition("url", "matches", "^a.b$"), facts) is True
    assert verdict(condition("url", "matches", "^b"), facts) is False
    assert verdict(condition("url", "matches", "(?m)^b"), facts) is True
    assert verdict(condition("source", "matches", "^face$"), facts) is True
    assert verdict(condition("url", "matches", "x", "b$"), facts) is True


def test_an_expression_reads_utf_8_and_nothing_else() -> None:
    assert verdict(condition("url", "matches", "^.$"), Facts(0, {"url": "é".encode()})) is True
    assert verdict(condition("url", "matches", "^.$"), Facts(0, {"url": b"\xff"})) is False
    assert verdict(condition("url", "matches", r"^\C$"), Facts(0, {"url": b"\xff"})) is True


@pytest.mark.parametrize(
    ("operator", "values", "address", "wanted"),
    [
        ("cidr", ["192.0.2.0/24"], b"192.0.2.255", T),
        ("cidr", ["192.0.2.0/24"], b"192.0.3.0", F),
        ("cidr", ["10.0.0.0/8", "192.0.2.0/24"], b"::ffff:192.0.2.1", T),
        ("cidr", ["::ffff:192.0.2.0/120"], b"192.0.2.1", T),
        ("cidr", ["2001:db8::/32"], b"2001:DB8:0::1", T),
        ("cidr", ["0.0.0.0/0"], b"2001:db8::1", F),
        ("cidr", ["::/0"], b"192.0.2.1", T),
        ("cidr", ["192.0.2.1"], b"192.0.2.1", T),
        ("cidr", ["0.0.0.0/0"], b"", F),
        ("cidr", ["0.0.0.0/0"], b"010.1.2.3", F),
        ("cidr", ["::/0"], b"fe80::1%eth0", F),
        ("cidr", ["::/0"], b"1.2.3.4\0", F),
        ("cidr", ["::/0"], b"\xff", F),
        ("cidr", ["::/0"], None, U),
        ("equals", ["2001:db8::1"], b"2001:0DB8::0001", T),
        ("not_equals", ["192.0.2.1"], b"not an address", T),
        ("in", ["192.0.2.1", "::1"], b"::1", T),
        ("not_in", ["192.0.2.1"], None, U),
        ("exists", [], b"x", T),
        ("exists", [], b"", F),
        ("not_exists", [], None, U),
    ],
)
def test_addresses(operator: str, values: list[str], address: bytes | None, wanted: Verdict) -> None:
    assert verdict(condition("ip", operator, *values), Facts(0, {"ip": address})) is wanted


@pytest.mark.parametrize(
    ("operator", "values", "wanted"),
    [
        ("equals", ["true"], (T, F, U)),
        ("equals", ["False"], (F, T, U)),
        ("not_equals", ["true"], (F, T, U)),
        ("exists", [], (T, T, U)),
        ("not_exists", [], (F, F, U)),
    ],
)
def test_a_truth_value(operator: str, values: list[str], wanted: tuple[Verdict, ...]) -> None:
    for fact, expected in zip((True, False, None), wanted, strict=True):
        assert verdict(condition("is_bot", operator, *values), Facts(0, {"is_bot": fact})) is expected
    assert verdict(condition("is_bot", operator, *values), Facts(0)) is None


@pytest.mark.parametrize(
    ("time_zone", "seconds", "hour", "weekday", "date"),
    [
        ("UTC", 1711846799, 0, "sunday", "2024-03-31"),
        ("Europe/Berlin", 1711846799, 1, "sunday", "2024-03-31"),
        ("Europe/Berlin", 1711846800, 3, "sunday", "2024-03-31"),  # no hour 2 on that day
        ("Europe/Berlin", 1729987200, 2, "sunday", "2024-10-27"),
        ("Europe/Berlin", 1729990800, 2, "sunday", "2024-10-27"),  # and hour 2 twice on this one
        ("Pacific/Apia", 1325239199, 23, "thursday", "2011-12-29"),
        ("Pacific/Apia", 1325239200, 0, "saturday", "2011-12-31"),  # they had no 30th
        ("Asia/Kathmandu", 1711846799, 6, "sunday", "2024-03-31"),
    ],
)
def test_parts_of_the_time_are_those_of_the_zone(
    time_zone: str, seconds: int, hour: int, weekday: str, date: str
) -> None:
    facts = Facts(seconds * 1000 + 999)
    assert verdict(condition("hour", "equals", str(hour)), facts, time_zone)
    assert verdict(condition("weekday", "in", weekday), facts, time_zone)
    assert verdict(condition("date", "between", date, date), facts, time_zone)
    assert not verdict(condition("date", "gt", date), facts, time_zone)


KLEENE: dict[Verdict, dict[str, Any]] = {
    True: condition("url", "equals", "u"),
    False: condition("url", "equals", "x"),
    None: condition("country", "equals", "DE"),
}
FACTS = Facts(0, {"url": b"u"})


@pytest.mark.parametrize(
    ("first", "second", "both", "either"),
    [(T, T, T, T), (T, F, F, T), (T, U, U, T), (F, F, F, F), (F, U, F, U), (U, U, U, U)],
)
def test_three_values_join_as_kleene_says(first: Verdict, second: Verdict, both: Verdict, either: Verdict) -> None:
    for pair in ([KLEENE[first], KLEENE[second]], [KLEENE[second], KLEENE[first]]):
        assert verdict({"all": pair}, FACTS) is both
        assert verdict({"any": pair}, FACTS) is either


@pytest.mark.parametrize(("value", "negated"), [(T, F), (F, T), (U, U)])
def test_not_keeps_unknown(value: Verdict, negated: Verdict) -> None:
    assert verdict({"not": KLEENE[value]}, FACTS) is negated


def test_only_what_a_rule_asks_for_is_worked_out() -> None:
    class Lazy(dict[str, Any]):
        def __missing__(self, name: str) -> bytes:
            asked.append(name)
            return b"x"

    asked: list[str] = []
    assert verdict(condition("browser", "equals", "X"), Facts(0, Lazy()))
    assert asked == ["browser"]


def test_a_rule_names_the_fields_that_it_asks_for() -> None:
    violations: list[Violation] = []
    predicate = predicate_from_json(
        [
            condition("os", "exists"),
            {"not": {"any": [condition("param.Q", "exists"), condition("header.X-A", "exists")]}},
        ],
        path="rule",
        violations=violations,
    )
    assert predicate
    assert fields_of(predicate) == {"os", "param.Q", "header.x-a"}


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no time zone `Mars/Olympus`"):
        verdict(condition("hour", "equals", "1"), Facts(0), "Mars/Olympus")
