"""The body of a postback: JSON or a form, with macros. Pure."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from macro_language.names import ALIASES, CONVERSION
from macro_language.template import MOST_MACROS, Template, read_template

Json: TypeAlias = Any  # what a JSON parser returns: anything
ValueOf: TypeAlias = Callable[[str], bytes]
MAX_BODY_CHARACTERS = 16_384
DEEPEST = 16
_JSON = re.compile(r'\s*(?:\[|\{\s*["}])')
"""`{click_id}` begins a form."""
JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """A body that was read, or what is wrong with it."""

    content_type: str
    form: Template | None = None
    json: Json = None
    names: frozenset[str] = frozenset()
    """Of its macros."""
    problems: tuple[str, ...] = ()

    def fill(self, value_of: ValueOf) -> bytes:
        """Return the body; macros in JSON stand for texts as they are, in a form for percent-encoded ones."""
        if self.form is not None:
            return self.form.fill(value_of)
        return json.dumps(_filled(self.json, value_of), separators=(",", ":")).encode()


def read_body_template(text: str) -> BodyTemplate:
    """Read a body: what begins as a JSON object or list is JSON, anything else a form; empty: none."""
    if len(text) > MAX_BODY_CHARACTERS:
        return BodyTemplate("", problems=(f"has {len(text)} characters, {MAX_BODY_CHARACTERS} are allowed",))
    problems: list[str] = []
    if _JSON.match(text):
        try:
            parsed = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            return BodyTemplate("", problems=(f"is not JSON: {str(error)[:200]}",))
        found = _macros(parsed, problems, depth=1)
        if len(found) > MOST_MACROS:
            problems.append(f"has {len(found)} macros, {MOST_MACROS} are allowed")
        return BodyTemplate(JSON_TYPE, json=parsed, names=frozenset(found), problems=tuple(problems))
    form = read_template(text, CONVERSION, ALIASES, problems)
    names = frozenset(macro.name for macro in form.macros)
    return BodyTemplate(FORM_TYPE if text else "", form=form, names=names, problems=tuple(problems))


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _macros(value: Json, problems: list[str], *, depth: int) -> list[str]:
    """Return the names of the macros in ``value``; add what is wrong with its texts."""
    if depth > DEEPEST:
        problems.append(f"is nested deeper than {DEEPEST}")
        return []
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            problems.append("has half of a surrogate pair in a text")
            return []
        return [macro.name for macro in read_template(value, CONVERSION, ALIASES, problems).macros]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for child in children for name in _macros(child, problems, depth=depth + 1)]


def _filled(value: Json, value_of: ValueOf) -> Json:
    match value:
        case str():
            parts = read_template(value, CONVERSION, ALIASES, []).parts
            plain = (p if isinstance(p, bytes) else unquote_to_bytes(p.fill(value_of(p.name))) for p in parts)
            return b"".join(plain).decode("utf-8", "replace")
        case dict():
            return {name: _filled(child, value_of) for name, child in value.items()}
        case list():
            return [_filled(child, value_of) for child in value]
        case _:
            return value
