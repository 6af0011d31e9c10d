"""Lengths of time as people type them."""

import re
from datetime import timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FORM = re.compile(r"(\d{1,6})([smhd])")


def parse_duration(text: str) -> timedelta:
    """Read ``90d``, ``12h``, ``30m`` or ``45s``; raise typer.BadParameter for anything else."""
    found = _FORM.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"`{text}` is not a length of time such as 90d, 12h, 30m or 45s")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
