"""Promise P7: the closure that routes and the SQL that reads history say the same of every event, unknown included."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timezone
from decimal import Decimal
from typing import Any

import clickhouse_connect
import pytest
import re2
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rule_language import evaluate
from rule_language.evaluate import Facts, Verdict, compile_test
from rule_language.expression import Expression, compile_expression, written_for_both
from rule_language.field import FIELDS, Field, Kind
from rule_language.operand import address_in, number_in, zone_from
from rule_language.parse import predicate_from_json, predicate_from_pb, predicate_to_json, predicate_to_pb
from rule_language.predicate import Condition, Operator, Predicate
from svc_runtime.errors import Violation
from tests.integration.rule_language.generate import ZONES, Generator
from tests.integration.rule_language.reading import Reading

pytestmark = pytest.mark.store


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path_factory.mktemp("clickhouse")))
    yield Reading(client)
    client.close()


def checked(form: Any) -> Predicate:
    violations: list[Violation] = []
    predicate = predicate_from_json(form, path="predicate", violations=violations)
    assert predicate is not None, violations
    return predicate


def assert_both_agree(reading: Reading, forms: list[Any], batch: list[Facts], time_zone: str) -> None:
    rules = [checked(form) for form in forms]
    tests = [compile_test(rule, time_zone=time_zone) for rule in rules]
    reading.fill(batch)
    for facts, in_history in zip(batch, reading.verdicts(rules, time_zone), strict=True):
        live = [test(facts) for test in tests]
        assert live == in_history, next(
            (rule, facts, there, here)
            for rule, there, here in zip(rules, live, in_history, strict=True)
            if there != here
        )


def property_test(reading: Reading, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, phases=[Phase.reuse, Phase.generate])
    @given(seed=st.integers(0, 2**32), time_zone=st.sampled_from(ZONES))
    def agree(seed: int, time_zone: str) -> None:
        generator = Generator(seed)
        forms = [generator.predicate() for _ in range(120)]
        assert_both_agree(reading, forms, [generator.event() for _ in range(60)], time_zone)

    agree()


def test_the_closure_and_clickhouse_say_the_same_of_every_event(reading: Reading) -> None:
    property_test(reading, 40)


def _unknown_negates_to_true(test: evaluate.Test) -> evaluate.Test:
    return lambda facts: not test(facts)


def _first_verdict_that_is_not_true(tests: list[evaluate.Test]) -> evaluate.Test:
    def conjunction(facts: Facts) -> Verdict:
        return next((verdict for test in tests if (verdict := test(facts)) is not True), True)

    return conjunction


def _first_verdict_that_is_not_false(tests: list[evaluate.Test]) -> evaluate.Test:
    def disjunction(facts: Facts) -> Verdict:
        return next((verdict for test in tests if (verdict := test(facts)) is not False), False)

    return disjunction


def _missing_is_empty(found: Field, test: Callable[[bytes], bool]) -> evaluate.Test:
    key = found.key.encode()
    return lambda facts: test((facts.params if found.is_parameter else facts.headers).get(key, b""))


def _letters_of_all_scripts_fold(found: Field, test: Callable[[bytes], bool]) -> evaluate.Test:
    if found.kind is Kind.NAMED or not found.folds_case:
        return _of_text(found, test)

    def of_field(facts: Facts) -> Verdict:
        text = facts.fields[found.name]
        return None if text is None else test(text.decode(errors="surrogateescape").lower().encode(errors="replace"))  # type: ignore[union-attr]  # a text

    return of_field


def _a_number_is_what_python_takes(text: bytes) -> Decimal | None:
    try:
        number = Decimal(text.decode())
    except (ArithmeticError, ValueError):
        return None
    return number if number.is_finite() else None


def _a_number_is_a_float(text: bytes) -> Decimal | None:
    number = number_in(text)
    return None if number is None else Decimal(float(number))


def _an_address_may_have_blanks(text: bytes) -> int | None:
    return address_in(text.strip())


def _ipv4_is_not_mapped(text: bytes) -> int | None:
    address = address_in(text)
    return None if address is not None and b"." in text and b":" in text else address


def _other_options(**changed: Any) -> Callable[..., Expression]:
    def compile_so(pattern: str, *, folds_case: bool) -> Expression:
        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        for name, value in changed.items():
            setattr(options, name, value)
        written = written_for_both(pattern, folds_case=folds_case)
        compiled: Expression = re2.compile(written.encode(), options)
        return compiled

    return compile_so


def _case_always_counts(pattern: str, *, folds_case: bool) -> Expression:
    return compile_expression(pattern, folds_case=False)


def _between_excludes_its_ends(found: Field, condition: Condition) -> Callable[[evaluate.Number], bool]:
    test = _number_test(found, condition)
    if condition.operator is not Operator.BETWEEN:
        return test
    return lambda number: test(number) and str(number) not in condition.values


def _standard_time(name: str) -> timezone:
    at = zone_from(name).utcoffset(datetime(2024, 1, 15, tzinfo=UTC))
    assert at is not None
    return timezone(at)


_of_text, _number_test = evaluate._of_text, evaluate._number_test
MUTANTS = {
    "not of unknown is true": ("_not", _unknown_negates_to_true),
    "unknown hides a later false": ("_all_of", _first_verdict_that_is_not_true),
    "unknown hides a later true": ("_any_of", _first_verdict_that_is_not_false),
    "a missing parameter is an empty one": ("_of_named", _missing_is_empty),
    "case folds beyond ASCII": ("_of_text", _letters_of_all_scripts_fold),
    "a number is what Python takes for one": ("number_in", _a_number_is_what_python_takes),
    "numbers are compared as floats": ("number_in", _a_number_is_a_float),
    "an address may have blanks around it": ("address_in", _an_address_may_have_blanks),
    "a mapped address is not IPv4": ("address_in", _ipv4_is_not_mapped),
    "the dot stops at a line feed": ("compile_expression", _other_options(dot_nl=False)),
    "an expression reads Latin-1": ("compile_expression", _other_options(encoding=re2.Options.Encoding.LATIN1)),
    "an expression ignores the field's case": ("compile_expression", _case_always_counts),
    "between excludes its ends": ("_number_test", _between_excludes_its_ends),
    "there is no daylight saving": ("zone_from", _standard_time),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_an_evaluator_that_is_wrong_is_caught(name: str, reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(evaluate, attribute, mutant)
    with pytest.raises(AssertionError):
        property_test(reading, 40)


def test_a_rule_is_the_same_after_both_written_forms() -> None:
    @given(seed=st.integers(0, 2**32))
    def unchanged(seed: int) -> None:
        rule = checked(Generator(seed).predicate())
        assert checked(predicate_to_json(rule)) == rule
        violations: list[Violation] = []
        assert predicate_from_pb(predicate_to_pb(rule), path="predicate", violations=violations) == rule

    unchanged()


def test_ten_thousand_values_are_one_query(reading: Reading) -> None:
    ids = [f"zone-{number}" for number in range(10_000)]
    networks = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(10_000)]
    forms = [
        *(
            {"field": "param.a", "operator": name, "values": ids}
            for name in ("in", "contains", "starts_with", "ends_with")
        ),
        {"field": "ip", "operator": "cidr", "values": networks},
    ]
    batch = [
        Facts(0, _unknown(ip), {b"a": text})
        for ip, text in ((b"10.39.15.1", b"zone-9999"), (b"10.39.16.1", b"zone-99991"), (b"", b"a zone-5"))
    ]
    for form in forms:
        assert_both_agree(reading, [form], batch, "UTC")


def _unknown(ip: bytes) -> dict[str, Any]:
    return {**dict.fromkeys(FIELDS), "ip": ip}
