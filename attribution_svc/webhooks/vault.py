"""The secrets of webhooks: made, sealed for the store, opened to send."""

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from attribution_svc.webhooks.message import SECRET_BYTES
from attribution_svc.webhooks.webhook import Definition, Header, SigningSecret, Webhook
from svc_runtime.sealing import SealBrokenError, Sealer

ROTATION_OVERLAP = timedelta(hours=24)
PURPOSE = "webhooks"


class SecretLostError(Exception):
    """A sealed secret cannot be opened: it was sealed by another mesh."""


class Vault:
    """Seals and opens, each secret for its own webhook only."""

    def __init__(self, mesh_secret: str) -> None:
        self._sealer = Sealer(mesh_secret, PURPOSE)

    def new_signing(self, organization_id: str, webhook_id: str) -> tuple[bytes, SigningSecret]:
        """Make a secret; return it, and how it is stored."""
        secret = os.urandom(SECRET_BYTES)
        return secret, SigningSecret(self._sealer.seal(secret, _place(organization_id, webhook_id, "signing")))

    def rotated(self, webhook: Webhook, *, now: datetime) -> tuple[bytes, Webhook]:
        """Return a new secret and the webhook with it; the one before signs along for a day, one older no more."""
        secret, fresh = self.new_signing(webhook.organization_id, webhook.webhook_id)
        before = tuple(replace(found, expire_time=now + ROTATION_OVERLAP) for found in webhook.secrets[:1])
        return secret, replace(webhook, secrets=(fresh, *before), version=webhook.version + 1, update_time=now)

    def open_signing(self, webhook: Webhook, now: datetime) -> list[bytes]:
        """Return the secrets to sign with. Raise SecretLostError."""
        place = _place(webhook.organization_id, webhook.webhook_id, "signing")
        live = [found for found in webhook.secrets if found.expire_time is None or found.expire_time > now]
        return [self._open(found.sealed, place) for found in live]

    def seal_headers(
        self, organization_id: str, webhook_id: str, definition: Definition, present: dict[str, bytes]
    ) -> tuple[Definition, dict[str, bytes]]:
        """Return the definition without the values of its secret headers, and these sealed.

        A secret header without a value keeps the one that it has in ``present``.
        """
        sealed = {}
        for header in _secret(definition.headers):
            name = header.name.lower()
            if not header.value:
                sealed[name] = present[name]
                continue
            place = _place(organization_id, webhook_id, f"header {name}")
            sealed[name] = self._sealer.seal(header.value.encode(), place)
        headers = tuple(replace(header, value="") if header.is_secret else header for header in definition.headers)
        return replace(definition, headers=headers), sealed

    def open_headers(self, webhook: Webhook) -> dict[str, str]:
        """Return the secret headers. Raise SecretLostError."""
        opened = {}
        for header in _secret(webhook.definition.headers):
            name = header.name.lower()
            place = _place(webhook.organization_id, webhook.webhook_id, f"header {name}")
            opened[header.name] = self._open(webhook.sealed_headers[name], place).decode()
        return opened

    def _open(self, sealed: bytes, place: str) -> bytes:
        try:
            return self._sealer.open(sealed, place)
        except SealBrokenError:
            raise SecretLostError from None


def _secret(headers: Iterable[Header]) -> list[Header]:
    return [header for header in headers if header.is_secret]


def _place(organization_id: str, webhook_id: str, what: str) -> str:
    return f"{organization_id}/{webhook_id}/{what}"
