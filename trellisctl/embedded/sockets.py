"""Where the unix sockets of the embedded stores are."""

import hashlib
import os
import tempfile
from pathlib import Path

from trellisctl.errors import CommandError

LONGEST_SOCKET_PATH = 103


def socket_directory(directory: Path, *, beside: str, socket_name: str) -> Path:
    """Return ``beside`` next to a store's directory, or a short private place when the socket's path is too long there.

    Raise CommandError when there is no place that is short enough.
    """
    name = f"trellis-{os.geteuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"
    places = (directory.with_name(beside), Path(tempfile.gettempdir()) / name)
    short = [place for place in places if len(os.fsencode(place / socket_name)) <= LONGEST_SOCKET_PATH]
    if not short:
        raise CommandError(f"{directory} and TMPDIR are too long for a socket: choose a shorter one of them")
    return short[0]
