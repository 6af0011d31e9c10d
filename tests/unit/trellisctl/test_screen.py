import io

import pytest
from rich.console import Console

from trellisctl.up.screen import PlainScreen, RichScreen, State, open_screen


def test_without_a_terminal_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = open_screen(["auth_svc"])
    assert isinstance(screen, PlainScreen)
    screen.show("auth_svc", State.STARTING)
    screen.show("auth_svc", State.READY, "0.5 s")
    screen.warn("mind the keys")
    assert capsys.readouterr().out == "auth_svc: starting\nauth_svc: ready (0.5 s)\nmind the keys\n"


def test_an_output_that_is_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    PlainScreen().show("auth_svc", State.STOPPING)
    monkeypatch.setattr("trellisctl.up.screen.Console", lambda **_: Console(file=Gone(), color_system=None))
    screen = RichScreen([])
    screen.settle()
    screen.show("auth_svc", State.STOPPING)
    screen.warn("killed")


def test_on_a_terminal_a_table_stays_and_later_changes_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, color_system=None, width=100)
    monkeypatch.setattr("trellisctl.up.screen.Console", lambda **_: console)
    screen = RichScreen(["auth_svc", "gateway-0"])
    screen.show("auth_svc", State.READY, "0.5 s")
    screen.settle()
    table = output.getvalue()
    assert "auth_svc" in table
    assert "waiting" in table
    output.truncate(0)
    screen.show("gateway-0", State.DIED, "by signal SIGKILL; starts again in 0.2 s")
    screen.say("[last] words")
    assert output.getvalue().replace("\0", "").splitlines() == [
        "gateway-0       died (by signal SIGKILL; starts again in 0.2 s)",
        "[last] words",
    ]
