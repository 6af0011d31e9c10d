"""Secrets that we must be able to read again, as they are stored: sealed with a key made of the mesh's secret.

What is sealed is of no use to who has the database, a backup or a gateway's snapshot alone. Whoever has the mesh's
secret too can open it; another mesh secret opens nothing.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PARTNER_SECRETS = "partner signing secrets"
"""The purpose that Warden and the gateways share."""
_VERSION = b"\x01"
_NONCE_BYTES = 12


class SealBrokenError(ValueError):
    """It was not sealed by this mesh, for this purpose and context, or was changed since."""


class Sealer:
    """Seals and opens the secrets of one purpose: AES-256-GCM, its key by HKDF-SHA256 from the mesh's secret."""

    def __init__(self, mesh_secret: str, purpose: str) -> None:
        derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"trellis/sealing/{purpose}".encode())
        self._cipher = AESGCM(derivation.derive(mesh_secret.encode()))

    def seal(self, plain: bytes, context: str) -> bytes:
        """Return ``plain`` sealed, never twice the same. ``context`` says whose it is: elsewhere it does not open."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed; raise SealBrokenError."""
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
            raise SealBrokenError("not sealed in a form that is known")
        try:
            return self._cipher.decrypt(nonce, rest, context.encode())
        except InvalidTag:
            raise SealBrokenError("sealed by another mesh, for another thing, or changed since") from None
