"""Organisations: the tenants of an installation."""

import enum
import re
from dataclasses import dataclass, replace
from datetime import datetime

from svc_runtime.errors import Violation

LONGEST_NAME = 200
_ID = re.compile(r"org_[a-z0-9_]{1,60}")


class OrganizationStatus(enum.Enum):
    """Whether an organisation may act; the values are what the store keeps."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant."""

    organization_id: str
    name: str
    status: OrganizationStatus
    create_time: datetime

    def changed(self, *, name: str | None, status: OrganizationStatus | None) -> "Organization":
        """Return this organisation with what is given changed."""
        return replace(self, name=self.name if name is None else name, status=self.status if status is None else status)


def is_organization_id(text: str) -> bool:
    """Say whether ``text`` has the form of an organisation's id."""
    return _ID.fullmatch(text) is not None


def id_violations(organization_id: str) -> list[Violation]:
    """Say what is wrong with a wanted id."""
    if is_organization_id(organization_id):
        return []
    return [Violation("organization_id", "must be `org_` and 1 to 60 of a-z, 0-9 and `_`")]


def name_violations(name: str) -> list[Violation]:
    """Say what is wrong with a name for people: an organisation's or a key's."""
    if not name.strip():
        return [Violation("name", "must not be empty")]
    if len(name) > LONGEST_NAME:
        return [Violation("name", f"has {len(name)} characters, at most {LONGEST_NAME}")]
    if not name.isprintable():
        return [Violation("name", "has a control character")]
    return []
