"""What every store says in the same words, so that a missing thing and another organisation's look alike."""

from svc_runtime.errors import AlreadyExistsError, NotFoundError

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


def organization_exists(organization_id: str) -> AlreadyExistsError:
    """The id is taken."""
    return AlreadyExistsError(f"there is an organisation `{_shown(organization_id)}` already")


def key_exists(key_id: str) -> AlreadyExistsError:
    """The key is there already, here or elsewhere."""
    return AlreadyExistsError(f"there is a key `{_shown(key_id)}` already")


def domain_exists(host: str) -> AlreadyExistsError:
    """The host is taken, by whomever."""
    return AlreadyExistsError(f"the host `{_shown(host)}` is taken")


def role_exists(name: str) -> AlreadyExistsError:
    """The name is taken."""
    return AlreadyExistsError(f"there is a role `{_shown(name)}` already")


def _shown(name: str) -> str:
    """Cut what a caller sent: a status travels in headers, which are small."""
    return name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "…"
