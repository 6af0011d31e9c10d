"""What every test may and may not do: one that touches a network, a store or a process says so by its marker."""

import os
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

import hypothesis
import pytest

from svc_runtime import mesh_token

# An example takes the time that the machine takes: a busy one is no defect.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# A token that a module makes while tests are collected must still be good when their turn comes, minutes later.
mesh_token.LIFETIME_SECONDS = 24 * 3600

# Before gRPC is imported: with its fork handlers a child that is to become PostgreSQL, started while gRPC is in use,
# crashes between fork and exec.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

OPEN_MARKERS = frozenset({"loopback", "store", "mesh", "faults"})


class UnmarkedNetworkError(BaseException):
    """An unmarked test opened a socket. Not an Exception, so that no code under test can swallow it."""


@pytest.fixture(autouse=True)
def _closed_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if any(request.node.get_closest_marker(marker) for marker in OPEN_MARKERS):
        yield
        return
    tried: list[str] = []

    def refuse(_self: socket.socket, address: Any, *_rest: Any) -> NoReturn:
        tried.append(str(address))
        raise UnmarkedNetworkError(f"this test opened {address}: mark it with one of {sorted(OPEN_MARKERS)}")

    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, refuse)
    yield
    assert not tried, f"an unmarked test touched the network: {tried}"
