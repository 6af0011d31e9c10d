"""The commands that administer an installation: ``org``, ``key``, ``domain``, ``partner``, ``role`` and ``audit``."""

import typer

from trellisctl.admin import audit, domain, key, org, partner, role


def register(app: typer.Typer) -> None:
    """Add the commands to ``trellis``."""
    app.add_typer(org.group, name="org")
    app.add_typer(key.group, name="key")
    app.add_typer(domain.group, name="domain")
    app.add_typer(partner.group, name="partner")
    app.add_typer(role.group, name="role")
    app.add_typer(audit.group, name="audit")
