"""docs/analytics.md tells the truth: its commands work, and its answers are such as the gateway gives."""

import itertools
import re
import shlex
from pathlib import Path

import orjson
import pytest

from ingress_gateway.routes.table import routes
from tests.contract.gateway_api.description import Description
from tests.contract.gateway_api.fakes import SECRET_KEY
from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]

PAGE = (Path(__file__).parents[3] / "docs" / "analytics.md").read_text()
_BLOCKS = re.findall(r"```(bash|json)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    command
    for kind, text in _BLOCKS
    if kind == "bash"
    for command in text.replace("\\\n", " ").splitlines()
    if command.startswith("curl")
]
ANSWERED = [
    (before[1].replace("\\\n", " "), text) for before, (kind, text) in itertools.pairwise(_BLOCKS) if kind == "json"
]


def read(command: str) -> tuple[str, str, dict[str, str], bytes | None]:
    """Return method, target, headers and body of a curl command."""
    words = iter(shlex.split(command.replace("$TRELLIS_KEY", SECRET_KEY)))
    headers: dict[str, str] = {}
    target, body = "", None
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words).encode()
        elif word.startswith("http"):
            target = word.removeprefix("http://127.0.0.1:8080")
    return "GET" if body is None else "POST", target, headers, body


@pytest.mark.parametrize("command", [command for command in COMMANDS if "event-stream" not in command])
async def test_every_command_of_the_page_works(mesh: Mesh, command: str) -> None:
    method, target, headers, body = read(command)
    answer = await mesh.call(method, target, key=None, headers=headers, body=body)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(("command", "answer"), ANSWERED, ids=[read(command)[1] for command, _ in ANSWERED])
async def test_every_answer_of_the_page_is_such_as_the_gateway_gives(
    description: Description, command: str, answer: str
) -> None:
    method, target, _, _ = read(command)
    operation = description.find(method, target.partition("?")[0])
    assert operation is not None
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    description.validate(orjson.loads(answer), schema)


async def test_the_page_names_every_route() -> None:
    paths = {route.template for route in routes() if route.template.startswith("/api/v1/analytics")}
    asked = {read(command)[1].partition("?")[0] for command in COMMANDS}
    assert paths == asked
