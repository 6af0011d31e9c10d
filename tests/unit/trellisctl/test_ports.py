import socket
from collections.abc import Iterator

import pytest

from trellisctl.errors import CommandError
from trellisctl.up import ports as ports_module
from trellisctl.up.ports import choose_ports

pytestmark = pytest.mark.loopback


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "PATIENCE_SECONDS", 0.2)


async def test_zero_gives_free_ports_each_another() -> None:
    found = await choose_ports("127.0.0.1", 0, 0)
    chosen = {found.http, found.auth, found.attribution, found.capture, found.analytics}
    assert len(chosen) == 5
    assert 0 not in chosen


async def test_the_services_take_the_ports_after_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "_problem", lambda _host, _port: None)
    found = await choose_ports("127.0.0.1", 0, 40000)
    assert [found.auth, found.attribution, found.capture, found.analytics] == [40001, 40002, 40003, 40004]


async def test_where_a_usual_port_is_taken_all_four_are_others(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "USUAL_GRPC_PORT_BASE", taken - 2)
    found = await choose_ports("127.0.0.1", 0, None)
    assert taken not in {found.auth, found.attribution, found.capture, found.analytics}


async def test_the_usual_ports_are_taken_where_they_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "_problem", lambda _host, _port: None)
    assert (await choose_ports("127.0.0.1", 0, None)).analytics == 50054


async def test_a_port_in_use_is_named_even_if_its_owner_would_share_it(taken: int) -> None:
    with pytest.raises(CommandError, match=f"port {taken} on 127.0.0.1 is in use.*--http-port"):
        await choose_ports("127.0.0.1", taken, 0)


async def test_a_grpc_port_in_use_names_its_own_option(taken: int) -> None:
    with pytest.raises(CommandError, match=f"port {taken} .*--grpc-port-base"):
        await choose_ports("127.0.0.1", 0, taken - 1)


async def test_an_address_that_is_not_ours_is_no_port_in_use() -> None:
    with pytest.raises(CommandError, match="cannot listen on"):
        await choose_ports("192.0.2.1", 8080, 0)
