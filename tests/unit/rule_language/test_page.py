"""docs/rules.md against the code."""

import json
import re
from pathlib import Path

from rule_language import check
from rule_language.field import FIELDS, LONGEST_NAME_BYTES, OPERATORS
from rule_language.parse import predicate_from_json
from rule_language.predicate import Operator
from svc_runtime.errors import Violation

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()


def table(title: str) -> list[list[str]]:
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_.<>]+)`", cell))


def test_the_page_lists_every_field_and_whether_case_counts() -> None:
    rows = table("Fields")
    assert set().union(*(names(row[0]) for row in rows)) == {*FIELDS, "param.<name>", "header.<name>"}
    folded = next(names(row[0]) for row in rows if "either case" in row[2])
    assert folded == {name for name, field in FIELDS.items() if field.folds_case}


def test_the_page_lists_every_operator() -> None:
    assert set().union(*(names(row[0]) for row in table("Operators"))) == set(Operator)
    assert set().union(*OPERATORS.values()) == set(Operator)


def test_the_page_names_the_limits() -> None:
    limits = " ".join(PAGE.split("## Limits\n")[1].split())
    wanted = [check.DEEPEST, check.MOST_CONDITIONS, check.MOST_CHILDREN, check.MOST_VALUES, LONGEST_NAME_BYTES]
    assert all(f"{number:,} " in limits for number in wanted)
    assert (check.LONGEST_VALUE_BYTES, check.MOST_VALUE_BYTES) == (4 << 10, 1 << 20)
    assert "4 KiB in one condition, 1 MiB of values together" in limits
    assert f"1 to {check.MOST_EXPRESSIONS} RE2 expressions" in PAGE


def test_the_example_is_a_rule() -> None:
    violations: list[Violation] = []
    found = re.search(r"```json\n(.*?)\n```", PAGE, flags=re.DOTALL)
    assert found
    assert predicate_from_json(json.loads(found[1]), path="rule", violations=violations), violations
