"""The ``trellis`` command."""

import sys

import typer

from svc_runtime.errors import TrellisError
from trellisctl import admin, demo, doctor, quarantine, rebuild, retention, up
from trellisctl.errors import CommandError

# Locals in a traceback would show secrets.
app = typer.Typer(
    name="trellis",
    help="Run and manage a Trellis installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
for part in (up, demo, doctor, admin, quarantine, rebuild, retention):
    part.register(app)


def main() -> None:
    """Run the command; a failure that the user can do something about is one line, not a traceback."""
    try:
        app()
    except (CommandError, TrellisError) as error:
        sys.stderr.write(f"trellis: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
