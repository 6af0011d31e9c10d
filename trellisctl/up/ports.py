"""Which ports the processes listen on; all of them are known to be free before anything starts."""

import asyncio
import errno
import socket
from dataclasses import dataclass

from trellisctl.errors import CommandError

USUAL_GRPC_PORT_BASE = 50050
# After `kill -9` of a supervisor its children need a moment to let go of their ports.
PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for HTTP, which all gateway workers share, and one per service for gRPC."""

    http: int
    auth: int
    attribution: int
    capture: int
    analytics: int


async def choose_ports(http_host: str, http_port: int, grpc_port_base: int | None) -> Ports:
    """Return the ports asked for, or free ones in place of 0. Raises CommandError for one in use.

    ``grpc_port_base`` None means the usual ones, or free ones where one of those is taken: nobody types them.
    """
    if grpc_port_base is None:
        usual = _grpc_ports(USUAL_GRPC_PORT_BASE)
        grpc_port_base = 0 if any(_problem(host, port) for host, port, _ in usual) else USUAL_GRPC_PORT_BASE
    wanted = [(http_host, http_port, "--http-port"), *_grpc_ports(grpc_port_base)]
    free = _free_ports([host for host, port, _ in wanted if port == 0])
    chosen = []
    for host, port, option in wanted:
        if port:
            await _check(host, port, option)
        chosen.append(port or free.pop())
    return Ports(*chosen)


def _grpc_ports(base: int) -> list[tuple[str, int, str]]:
    return [("127.0.0.1", base + offset if base else 0, "--grpc-port-base") for offset in (1, 2, 3, 4)]


async def _check(host: str, port: int, option: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while (problem := _problem(host, port)) is not None:
        if problem != errno.EADDRINUSE:
            raise CommandError(f"cannot listen on {host}:{port} ({errno.errorcode[problem]}): choose another {option}")
        if asyncio.get_running_loop().time() > deadline:
            raise CommandError(f"port {port} on {host} is in use: stop what listens there, or choose another {option}")
        await asyncio.sleep(0.1)


def _problem(host: str, port: int) -> int | None:
    with _socket(host) as listener:
        try:
            listener.bind((host, port))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno
    return None


def _free_ports(hosts: list[str]) -> list[int]:
    listeners = [_socket(host) for host in hosts]
    try:
        for listener, host in zip(listeners, hosts, strict=True):
            listener.bind((host, 0))
        return [listener.getsockname()[1] for listener in reversed(listeners)]
    finally:
        for listener in listeners:
            listener.close()


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
