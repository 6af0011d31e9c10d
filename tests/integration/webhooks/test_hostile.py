"""Receivers that are slow, huge, broken, gone or busy, and names that lead where nobody may go."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from attribution_svc.webhooks import attempt as rules
from attribution_svc.webhooks.attempt import Failure
from attribution_svc.webhooks.change import Click
from attribution_svc.webhooks.guard import Guard
from attribution_svc.webhooks.sender import Outgoing, Sender
from svc_runtime.postgres import Database
from tests.contract.webhooks.things import make_change
from tests.integration.webhooks.conftest import WriteLog
from tests.integration.webhooks.receiver import Behaviour, answer_ok, running_receiver
from tests.integration.webhooks.service import LOOPBACK, KnownClicks, caller_of, running_service
from trellis.attribution.v1 import webhook_service_pb2 as pb

pytestmark = pytest.mark.store
SECONDS = 1.0


def to(url: str, **more: Any) -> Outgoing:
    """Return a request to a URL."""
    return Outgoing("GET", url, {"X-Key": "s3cret"}, b"", frozenset({"x-key"}), **more)


@pytest.fixture
async def open_sender() -> AsyncIterator[Callable[..., Any]]:
    """Make senders that may go to some ports of this machine."""
    opened = []

    async def make(*ports: int, networks: Any = LOOPBACK, resolver: AbstractResolver | None = None) -> Sender:
        context = Sender.open(Guard(networks, ports), total_seconds=SECONDS, most_connections=20, resolver=resolver)
        opened.append(context)
        return await context.__aenter__()

    yield make
    for context in opened:
        await context.__aexit__(None, None, None)


async def hang(_request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    """Answer 200 at once, and then a byte now and then for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.05)


async def flood(request: web.Request) -> web.StreamResponse:
    """Answer 200 and send as much as is taken."""
    response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
    await response.prepare(request)
    for _ in range(10_000):
        await response.write(b"y" * 100_000)
    return response


async def reset(request: web.Request) -> web.StreamResponse:
    """Cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def long_headers(_request: web.Request) -> web.StreamResponse:
    """Answer with more headers than anybody reads."""
    return web.Response(headers={"X-Long": "z" * 100_000})


@pytest.mark.parametrize(
    ("behaves", "failure", "status"),
    [
        (hang, Failure.TIMEOUT, 0),
        (drip, Failure.NONE, 200),
        (flood, Failure.NONE, 200),
        (reset, Failure.RESET, 0),
        (long_headers, Failure.RESET, 0),
    ],
)
async def test_a_hostile_answer_costs_bounded_time_and_memory(
    open_sender: Callable[..., Any], behaves: Behaviour, failure: Failure, status: int
) -> None:
    async with running_receiver(behaves) as receiver:
        sender = await open_sender(receiver.port)
        started = time.monotonic()
        outcome = await sender.send(to(f"{receiver.url}/"))
        assert (outcome.failure, outcome.status) == (failure, status)
        assert time.monotonic() - started < SECONDS + 4
        assert len(outcome.body) <= 2048
        assert "s3cret" not in repr(outcome)


async def test_nobody_at_home_is_told(open_sender: Callable[..., Any]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        sender = await open_sender(port, 443)
        assert (await sender.send(to(f"http://127.0.0.1:{port}/"))).failure is Failure.CONNECT
    assert (await sender.send(to("https://nobody.invalid/"))).failure is Failure.DNS


async def test_what_speaks_no_http_or_no_tls_is_told(open_sender: Callable[..., Any]) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = await open_sender(port)
    assert (await sender.send(to(f"http://127.0.0.1:{port}/"))).failure is Failure.RESET
    assert (await sender.send(to(f"https://127.0.0.1:{port}/"))).failure in (Failure.TLS, Failure.CONNECT)
    server.close()


def self_signed(directory: Path) -> ssl.SSLContext:
    """Return a context that presents a certificate which nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    files = directory / "key.pem", directory / "certificate.pem"
    files[0].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files[1].write_bytes(certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    return context


async def test_a_certificate_that_nobody_signed_is_refused(open_sender: Callable[..., Any], tmp_path: Path) -> None:
    heard = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    port = server.sockets[0].getsockname()[1]
    sender = await open_sender(port, resolver=Rebinding("127.0.0.1"))
    outcome = await sender.send(to(f"https://localhost:{port}/"))
    assert outcome.failure is Failure.TLS
    assert "certificate" in outcome.detail
    assert not any(heard)
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "2130706433"])
async def test_this_machine_is_out_of_reach_by_any_name(open_sender: Callable[..., Any], host: str) -> None:
    async with running_receiver() as receiver:
        sender = await open_sender(receiver.port, networks=())
        outcome = await sender.send(to(f"http://{host}:{receiver.port}/"))
        assert outcome.failure in (Failure.REFUSED_ADDRESS, Failure.DNS)
        assert not receiver.requests


class Rebinding(AbstractResolver):
    """Says a public address first, and then this machine's."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the next answer."""
        answer = self.answers.pop(0)
        return [ResolveResult(hostname=host, host=answer, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Hold nothing."""


async def test_a_name_that_is_bound_anew_leads_nowhere(open_sender: Callable[..., Any]) -> None:
    async with running_receiver() as receiver:
        # The resolver is the attacker's: what it says is checked when it is connected to, every time.
        sender = await open_sender(receiver.port, networks=(), resolver=Rebinding("192.0.2.1", "127.0.0.1"))
        for _ in range(2):
            outcome = await sender.send(to(f"http://rebound.example:{receiver.port}/"))
            assert outcome.failure is Failure.REFUSED_ADDRESS
        assert not receiver.requests
        open_ = await open_sender(receiver.port, resolver=Rebinding("127.0.0.1"))
        assert (await open_.send(to(f"http://rebound.example:{receiver.port}/"))).is_success


async def test_every_redirect_is_guarded(open_sender: Callable[..., Any]) -> None:
    async with running_receiver() as inner:

        async def lead_on(request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": request.query["to"]})

        async with running_receiver(lead_on) as receiver:
            sender = await open_sender(receiver.port)  # the port of the other is not open
            url = f"{receiver.url}/?to={inner.url}/"
            assert (await sender.send(to(url))).status == 302
            followed = await sender.send(to(url, follows_redirects=True))
            assert followed.failure is Failure.REFUSED_ADDRESS
            elsewhere = await sender.send(to(f"{receiver.url}/?to=http://169.254.169.254/", follows_redirects=True))
            assert elsewhere.failure is Failure.REFUSED_ADDRESS
            assert not inner.requests
            around = await sender.send(to(f"{receiver.url}/?to=?to=%3Fto%3D", follows_redirects=True))
            assert around.failure in (Failure.REFUSED_ADDRESS, Failure.STATUS)
            assert len(receiver.requests) <= 3 + 4
            both = await open_sender(receiver.port, inner.port)
            assert (await both.send(to(url, follows_redirects=True))).is_success
            assert "x-key" in receiver.requests[-1].headers
            assert "x-key" not in inner.requests[0].headers


async def test_names_are_looked_up_without_waiting_for_a_hanging_one(
    open_sender: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = socket.getaddrinfo

    def answer(host: str, *arguments: Any, **more: Any) -> Any:
        if host == "hangs.example":
            time.sleep(1.5)
            raise socket.gaierror("no answer")
        return ask("127.0.0.1" if host == "works.example" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    async with running_receiver() as receiver:
        sender = await open_sender(receiver.port)
        hanging = [asyncio.create_task(sender.send(to(f"http://hangs.example:{receiver.port}/"))) for _ in range(15)]
        await asyncio.sleep(0.1)
        started = time.monotonic()
        assert (await sender.send(to(f"http://works.example:{receiver.port}/"))).is_success
        assert time.monotonic() - started < 0.5
        assert {outcome.failure for outcome in await asyncio.gather(*hanging)} == {Failure.TIMEOUT}
    await asyncio.sleep(1)  # the thread ends before the function is what it was


async def test_one_slow_destination_does_not_slow_the_others(dsn: str, database: Database, log: WriteLog) -> None:
    async with running_receiver(hang) as slow, running_receiver() as quick:
        ports = (slow.port, quick.port)
        async with running_service(dsn, database, ports=ports, webhook_concurrency=8, webhook_attempt_seconds=20) as s:
            await s.create(f"{slow.url}/")
            await s.create(f"{quick.url}/")
            await log([make_change(number) for number in range(1, 101)])
            started = time.monotonic()
            await quick.until(100, seconds=15)
            assert time.monotonic() - started < 15
            assert slow.most_at_once <= 5


async def test_failures_are_tried_again_under_the_same_id(
    dsn: str, database: Database, log: WriteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [500, 503, 404, 302, 200]

    async def stumble(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=answers[len(receiver.requests) - 1], text=f"{len(receiver.requests)}")

    monkeypatch.setattr(rules, "FIRST_DELAY", timedelta(0))
    async with running_receiver(stumble) as receiver, running_service(dsn, database, ports=(receiver.port,)) as service:
        made = await service.create(f"{receiver.url}/")
        await log([make_change(1)])
        webhook_id = made.webhook.webhook_id
        (delivery,) = await service.until(
            webhook_id, lambda found: [d.state for d in found] == [pb.DELIVERY_STATE_SUCCEEDED]
        )
        whole = await service.delivery(webhook_id, delivery.delivery_id)
        assert [attempt.status for attempt in whole.attempts] == answers
        assert [attempt.number for attempt in whole.attempts] == [1, 2, 3, 4, 5]
        assert {request.headers["webhook-id"] for request in receiver.requests} == {delivery.delivery_id}
        assert len({request.body for request in receiver.requests}) == 1


async def test_a_receiver_that_asks_for_time_gets_it(dsn: str, database: Database, log: WriteLog) -> None:
    async def busy(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    async with running_receiver(busy) as receiver, running_service(dsn, database, ports=(receiver.port,)) as service:
        made = await service.create(f"{receiver.url}/")
        await log([make_change(1)])
        await receiver.until(1)
        (delivery,) = await service.until(
            made.webhook.webhook_id, lambda found: [d.state for d in found] == [pb.DELIVERY_STATE_FAILED]
        )
        wait = delivery.next_attempt_time.seconds - delivery.create_time.seconds
        assert 3590 <= wait <= 3700


async def test_one_that_is_gone_is_turned_off(dsn: str, database: Database, log: WriteLog) -> None:
    async def gone(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=410)

    async with running_receiver(gone) as receiver, running_service(dsn, database, ports=(receiver.port,)) as service:
        made = await service.create(f"{receiver.url}/")
        await log([make_change(1)])
        await service.until(made.webhook.webhook_id, lambda found: [d.state for d in found] == [pb.DELIVERY_STATE_DEAD])
        request = pb.GetWebhookRequest(webhook_id=made.webhook.webhook_id)
        webhook = (await service.stub.GetWebhook(request, metadata=caller_of())).webhook
        assert (webhook.is_enabled, webhook.disable_reason) == (False, "the receiver answered 410 Gone")


async def test_a_broken_destination_is_left_alone_and_comes_back(dsn: str, database: Database, log: WriteLog) -> None:
    async def broken(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    async with running_receiver(broken) as receiver, running_service(dsn, database, ports=(receiver.port,)) as service:
        made = await service.create(f"{receiver.url}/")
        await log([make_change(number) for number in range(1, 61)])
        await receiver.until(10)
        await asyncio.sleep(2)
        request = pb.GetWebhookRequest(webhook_id=made.webhook.webhook_id)
        assert (await service.stub.GetWebhook(request, metadata=caller_of())).webhook.HasField("paused_until_time")
        asked = len(receiver.requests)
        # Ten failures in a row, and those that were on their way: the other forty are spared.
        assert 10 <= asked <= 20
        await asyncio.sleep(1)
        assert len(receiver.requests) == asked
        receiver.behaves = answer_ok
        async with database.connection() as connection:
            await connection.execute("UPDATE webhook_health SET open_until = now()")
        await service.until(
            made.webhook.webhook_id,
            lambda found: sum(d.state == pb.DELIVERY_STATE_SUCCEEDED for d in found) >= 60 - asked,
        )


async def test_while_clicks_cannot_be_read_postbacks_wait_and_none_is_lost(
    dsn: str, database: Database, log: WriteLog
) -> None:
    clicks = KnownClicks({("org_a", "e1"): Click({}, {"zone": "z7"})}, is_down=True)
    async with (
        running_receiver() as receiver,
        running_service(dsn, database, ports=(receiver.port,), clicks=clicks) as service,
    ):
        await service.create(f"{receiver.url}/pb?z={{param:zone}}", kind=pb.WEBHOOK_KIND_POSTBACK)
        await log([make_change(1, touch_event_id="e1")])
        await asyncio.sleep(1)
        assert not receiver.requests
        clicks.is_down = False
        await receiver.until(1)
        assert receiver.requests[0].target == "/pb?z=z7"
