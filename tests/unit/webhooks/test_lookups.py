"""Names that hang keep no other organisation waiting."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from attribution_svc.webhooks.guard import Guard
from attribution_svc.webhooks.sender import GuardedResolver, asking_organization

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let every host that begins with `slow` hang until the event."""
    event = threading.Event()

    def ask(host: str, *_: Any, **__: Any) -> Any:
        if host.startswith("slow"):
            event.wait(10)
        return ANSWER

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    yield event
    event.set()


async def resolve(resolver: GuardedResolver, organization_id: str, host: str) -> str:
    """Ask for a host in the name of an organisation."""
    asking_organization.set(organization_id)
    async with asyncio.timeout(5):
        (found,) = await resolver.resolve(host, 443)
    return found["host"]


async def test_an_organisation_whose_names_hang_leaves_room_for_the_others(hanging: threading.Event) -> None:
    resolver = GuardedResolver(Guard((), (443,)))
    slow = [asyncio.create_task(resolve(resolver, "org_a", f"slow{at}.example")) for at in range(40)]
    own = asyncio.create_task(resolve(resolver, "org_a", "fast.example"))
    await asyncio.sleep(0.05)
    other = asyncio.create_task(resolve(resolver, "org_b", "fast2.example"))
    assert await other == "93.184.215.14"
    assert not own.done()
    hanging.set()
    assert set(await asyncio.gather(own, *slow)) == {"93.184.215.14"}
    await resolver.close()


async def test_who_gives_up_waiting_takes_no_room(hanging: threading.Event) -> None:
    resolver = GuardedResolver(Guard((), (443,)))
    slow = [asyncio.create_task(resolve(resolver, "org_a", f"slow{at}.example")) for at in range(40)]
    await asyncio.sleep(0.05)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    hanging.set()
    assert await resolve(resolver, "org_a", "fast.example") == "93.184.215.14"
    await resolver.close()
