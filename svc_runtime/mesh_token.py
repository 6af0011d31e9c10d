"""Mesh tokens: short-lived JWTs by which services of one installation know each other and say for whom they act."""

import enum
import time
from dataclasses import dataclass
from typing import Any

import jwt

from svc_runtime.errors import UnauthenticatedError

AUDIENCE = "trellis-mesh"
LIFETIME_SECONDS = 120
_ALGORITHM = "HS256"


class CallerKind(enum.Enum):
    """Who is calling."""

    ANYONE = "anyone"
    SERVICE = "service"
    ORGANIZATION = "organization"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of an RPC, as proved by its token or key."""

    kind: CallerKind
    actor: str = ""
    """For the audit log: ``key:<id>``, ``operator`` or ``service:<name>``."""
    organization_id: str = ""
    """Whose data the call may touch; empty for a service that acts for nobody and for the operator in general."""
    scopes: frozenset[str] = frozenset()
    """What the caller may do in that organisation."""


ANYONE = Caller(CallerKind.ANYONE)


class MeshTokens:
    """Makes and reads mesh tokens with the installation's secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._made: dict[Caller, tuple[str, float]] = {}
        self._read: dict[str, tuple[Caller, float]] = {}

    def make(self, caller: Caller) -> str:
        """Return a token for ``caller``; the same one is handed out until half of its life is over."""
        now = time.time()
        held = self._made.get(caller)
        if held is not None and held[1] - now > LIFETIME_SECONDS / 2:
            return held[0]
        if len(self._made) > 10_000:
            self._made.clear()
        claims = {
            "iss": "trellis",
            "aud": AUDIENCE,
            "iat": int(now),
            "exp": int(now) + LIFETIME_SECONDS,
            "kind": caller.kind.value,
            "sub": caller.actor,
            "org": caller.organization_id,
            "scopes": sorted(caller.scopes),
        }
        token = jwt.encode(claims, self._secret, algorithm=_ALGORITHM)
        self._made[caller] = (token, now + LIFETIME_SECONDS)
        return token

    def read(self, token: str) -> Caller:
        """Return the caller that a token proves; raise UnauthenticatedError for a forged, expired or foreign one."""
        now = time.time()
        held = self._read.get(token)
        if held is not None and held[1] > now:
            return held[0]
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer="trellis",
                leeway=5,
                options={"require": ["exp", "iat", "aud", "iss"]},
            )
            caller = Caller(
                kind=CallerKind(claims["kind"]),
                actor=str(claims["sub"]),
                organization_id=str(claims["org"]),
                scopes=frozenset(claims["scopes"]),
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise UnauthenticatedError("the mesh token is not valid", reason="KEY_UNKNOWN") from None
        if len(self._read) > 10_000:
            self._read.clear()
        self._read[token] = (caller, float(claims["exp"]))
        return caller
