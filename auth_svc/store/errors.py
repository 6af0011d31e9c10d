"""What every store says in the same words, so that a missing thing and another organisation's look alike."""

from svc_runtime.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError

_LONGEST_SHOWN = 80


def no_organization(organization_id: str) -> NotFoundError:
    """No such organisation."""
    return NotFoundError(f"there is no organisation `{_shown(organization_id)}`")


def no_key(key_id: str) -> NotFoundError:
    """No such key here."""
    return NotFoundError(f"there is no key `{_shown(key_id)}` in this organisation")


def no_domain(host: str) -> NotFoundError:
    """No such host here."""
    return NotFoundError(f"there is no tracking domain `{_shown(host)}` in this organisation")


def no_partner(partner_id: str) -> NotFoundError:
    """No such partner here."""
    return NotFoundError(f"there is no partner `{_shown(partner_id)}` in this organisation")


def too_many_partners(most: int) -> FailedPreconditionError:
    """The organisation has as many as it may."""
    return FailedPreconditionError(f"the organisation has {most} partners, the limit: revoke one first")


def organization_exists(organization_id: str) -> AlreadyExistsError:
    """The id is taken."""
    return AlreadyExistsError(f"there is an organisation `{_shown(organization_id)}` already")


def key_exists(key_id: str) -> AlreadyExistsError:
    """The key is there already, here or elsewhere."""
    return AlreadyExistsError(f"there is a key `{_shown(key_id)}` already")


def domain_exists(host: str) -> AlreadyExistsError:
    """The host is taken, by whomever."""
    return AlreadyExistsError(f"the host `{_shown(host)}` is taken")


def partner_exists(partner_id: str) -> AlreadyExistsError:
    """The partner, or its token, is there already."""
    return AlreadyExistsError(f"there is a partner `{_shown(partner_id)}` already")


def role_exists(name: str) -> AlreadyExistsError:
    """The name is taken."""
    return AlreadyExistsError(f"there is a role `{_shown(name)}` already")


def _shown(name: str) -> str:
    """Cut what a caller sent: a status travels in headers, which are small."""
    return name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "…"
