"""The system user that PostgreSQL runs as where we are root, which it refuses to be."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = "trellis"
OTHERS_MAY_PASS = 0o001


@dataclass(frozen=True, slots=True)
class OsUser:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give ``path`` to the user."""
        os.chown(path, self.uid, self.gid)


def user_for_postgres() -> OsUser | None:
    """Return the user to run as: None for our own, ``trellis`` (made where it is missing) or ``nobody`` for root."""
    if os.geteuid() != 0:
        return None
    return _look_up(NAME) or _make() or _look_up("nobody")


def let_pass(user: OsUser, path: Path) -> list[Path]:
    """Let ``user`` walk down to ``path``, without being able to list or read what is on the way.

    Returns the directories whose mode was changed.
    """
    changed = []
    for directory in path.parents:
        status = directory.stat()
        if status.st_uid == user.uid or status.st_mode & OTHERS_MAY_PASS:
            continue
        directory.chmod(status.st_mode | OTHERS_MAY_PASS)
        changed.append(directory)
    return changed


def _look_up(name: str) -> OsUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return OsUser(name, entry.pw_uid, entry.pw_gid)


def _make() -> OsUser | None:
    useradd = shutil.which("useradd")
    if useradd is None:
        return None
    subprocess.run(
        [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME],
        check=False,
        capture_output=True,
    )
    return _look_up(NAME)
