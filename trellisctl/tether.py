"""Starts a command that dies with its parent: ``python tether.py PARENT_PID SIGNAL UID:GID|- COMMAND...``.

Runs by itself, with the standard library alone, and replaces itself by the command. It is a program and not a
``preexec_fn`` because Python code between fork and exec can deadlock in a process that has threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def tethered(
    command: Sequence[str], *, death_signal: signal.Signals = signal.SIGKILL, user: tuple[int, int] | None = None
) -> list[str]:
    """Return ``command`` as this process must start it so that it gets ``death_signal`` when this process dies.

    To be started by the main thread, because it is a thread's death that the kernel reports. ``user`` is the uid and
    gid to run as.
    """
    as_user = f"{user[0]}:{user[1]}" if user else "-"
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal)), as_user, *command]


def main(arguments: list[str]) -> None:
    """Drop to the user, ask the kernel for the signal, and become the command."""
    parent, signal_number, user, *command = arguments
    if user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        os.chdir("/")
    if sys.platform == "linux":
        # After setuid: a change of credentials clears it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != int(parent):
        raise SystemExit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own command, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
