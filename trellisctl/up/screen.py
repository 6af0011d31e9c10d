"""What a person sees while the mesh starts, runs and stops."""

import contextlib
import enum
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class State(enum.Enum):
    """Where a process stands; the second value is its colour."""

    WAITING = ("waiting", "dim")
    STARTING = ("starting", "yellow")
    READY = ("ready", "green")
    DIED = ("died", "red")
    STOPPING = ("stopping", "yellow")
    STOPPED = ("stopped", "dim")

    @property
    def word(self) -> str:
        """The word for people."""
        return self.value[0]

    @property
    def style(self) -> str:
        """Rich's name of its colour."""
        return self.value[1]


class Screen(Protocol):
    """Shows the state of processes, and text."""

    def show(self, name: str, state: State, detail: str = "") -> None:
        """Show that the process ``name`` is in ``state`` now."""
        ...

    def say(self, text: str) -> None:
        """Show lines of text."""
        ...

    def warn(self, text: str) -> None:
        """Show lines of text that must not be missed."""
        ...

    def settle(self) -> None:
        """Everything is up: from here on each change is a line of its own."""
        ...


class PlainScreen:
    """A line per change, for logs and pipes."""

    def show(self, name: str, state: State, detail: str = "") -> None:
        """Print one line."""
        self.say(f"{name}: {state.word}{f' ({detail})' if detail else ''}")

    def say(self, text: str) -> None:
        """Print as it is."""
        # A terminal or pipe that is gone must not end the mesh, least of all in the middle of a drain.
        with contextlib.suppress(OSError):
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Print as it is."""
        self.say(text)

    def settle(self) -> None:
        """Nothing to do."""


class RichScreen:
    """A table that changes in place while the mesh starts, then lines."""

    def __init__(self, names: Sequence[str]) -> None:
        self._console = Console(highlight=False)
        self._rows: dict[str, tuple[State, str]] = dict.fromkeys(names, (State.WAITING, ""))
        self._began = time.monotonic()
        self._live: Live | None = Live(console=self._console, get_renderable=self._table, refresh_per_second=8)
        self._live.start()

    def show(self, name: str, state: State, detail: str = "") -> None:
        """Change the row, or print a line once settled."""
        self._rows[name] = (state, detail)
        if self._live is None:
            suffix = f" ({detail})" if detail else ""
            self._print(Text.assemble((f"{name:<16}", "bold"), (state.word, state.style), suffix))

    def say(self, text: str) -> None:
        """Print, above the table while there is one."""
        self._print(Text(text))

    def warn(self, text: str) -> None:
        """Print in bold red."""
        self._print(Text(text, style="bold red"))

    def settle(self) -> None:
        """Leave the table as it is."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None

    def _print(self, text: Text) -> None:
        # The terminal may be gone, as after SIGHUP; the drain goes on without it.
        with contextlib.suppress(OSError):
            self._console.print(text, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, (state, detail) in self._rows.items():
            mark = Spinner("dots", style=state.style) if state is State.STARTING else Text("•", style=state.style)
            table.add_row(
                mark, Text(name, style="bold"), Text(state.word, style=state.style), Text(detail, style="dim")
            )
        table.add_row("", Text(f"{time.monotonic() - self._began:.0f} s", style="dim"))
        return table


def open_screen(names: Sequence[str]) -> Screen:
    """Return the screen for standard output: a table on a terminal, lines elsewhere."""
    return RichScreen(names) if sys.stdout.isatty() else PlainScreen()
