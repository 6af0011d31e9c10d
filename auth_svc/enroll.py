"""Enrols partners: adds them, changes them, lets another token or secret take over, revokes them."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from auth_svc.audit import Act, Detail
from auth_svc.partner import MOST_PARTNERS, Partner, PartnerToken, PartnerWanted, is_partner_id
from auth_svc.principal import Principal
from auth_svc.store import PartnerChange, PartnerStore
from auth_svc.store.errors import no_partner
from svc_runtime.clock import Clock
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.partner_tokens import new_partner_token, present_partner_token
from svc_runtime.sealing import Sealer

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A partner, and what is shown of it for the only time."""

    partner: Partner
    token: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)


class PartnerEnrolment:
    """The acts on the partners of a principal's organisation."""

    def __init__(self, store: PartnerStore, clock: Clock, *, pepper: bytes, sealer: Sealer) -> None:
        self._store = store
        self._clock = clock
        self._pepper = pepper
        self._sealer = sealer

    async def create(self, principal: Principal, wanted: PartnerWanted, *, is_signed: bool) -> Enrolled:
        """Add a partner. Raise InvalidArgumentError, NotFoundError, FailedPreconditionError for one too many."""
        _check(wanted)
        now = self._clock.now()
        partner_id = f"ptr_{secrets.token_hex(8)}"
        token, text = self._fresh(now)
        secret, sealed = self._secret(partner_id) if is_signed else ("", b"")
        nobody = Partner(partner_id, principal.organization_id, "", "", token, now, sealed_secret=sealed)
        partner = wanted.applied(nobody)
        act = principal.act(
            "partner.create",
            partner_id,
            time=now,
            name=partner.name,
            network=partner.network,
            addresses=list(partner.addresses),
            is_signed=is_signed,
        )
        await self._store.create_partner(partner, act, most=MOST_PARTNERS)
        return Enrolled(partner, text, secret)

    async def get(self, principal: Principal, partner_id: str) -> Partner:
        """Return a partner. Raise NotFoundError."""
        return await self._store.get_partner(principal.organization_id, _checked(partner_id))

    async def update(self, principal: Principal, partner_id: str, wanted: PartnerWanted) -> Partner:
        """Change what is wanted. Raise InvalidArgumentError, NotFoundError, FailedPreconditionError."""
        _check(wanted)
        if wanted == PartnerWanted():
            raise InvalidArgumentError.of([Violation("name", "set it or something else: nothing is to be changed")])

        def decide(before: Partner) -> PartnerChange | None:
            before.check_not_revoked()
            after = wanted.applied(before)
            if after == before:
                return None
            return PartnerChange(after, self._act(principal, "partner.update", before, after))

        return await self._change(principal, partner_id, decide)

    async def rotate(self, principal: Principal, partner_id: str, *, overlap: timedelta) -> Enrolled:
        """Give a partner another token. Raise NotFoundError, FailedPreconditionError."""
        token, text = self._fresh(self._clock.now())

        def decide(before: Partner) -> PartnerChange:
            before.check_not_revoked()
            after = before.rotated(token, overlap=overlap)
            return PartnerChange(after, self._act(principal, "partner.rotate", before, after))

        return Enrolled(await self._change(principal, partner_id, decide), text)

    async def set_signature(self, principal: Principal, partner_id: str, *, is_signed: bool) -> Enrolled:
        """Want signatures, with a new secret, or none. Raise NotFoundError, FailedPreconditionError."""
        secret, sealed = self._secret(partner_id) if is_signed else ("", b"")

        def decide(before: Partner) -> PartnerChange | None:
            before.check_not_revoked()
            if not is_signed and not before.sealed_secret:
                return None
            after = replace(before, sealed_secret=sealed)
            act = principal.act("partner.signature", partner_id, time=self._clock.now(), is_signed=is_signed)
            return PartnerChange(after, act)

        return Enrolled(await self._change(principal, partner_id, decide), signing_secret=secret)

    async def revoke(self, principal: Principal, partner_id: str) -> Partner:
        """End a partner's tokens for ever; again is no act. Raise NotFoundError."""

        def decide(before: Partner) -> PartnerChange | None:
            if before.revoke_time is not None:
                return None
            now = self._clock.now()
            # What it signed with is of no use to anybody now.
            after = replace(before, revoke_time=now, sealed_secret=b"")
            return PartnerChange(after, principal.act("partner.revoke", partner_id, time=now))

        return await self._change(principal, partner_id, decide)

    async def _change(
        self, principal: Principal, partner_id: str, decide: Callable[[Partner], PartnerChange | None]
    ) -> Partner:
        return await self._store.change_partner(principal.organization_id, _checked(partner_id), decide)

    def _act(self, principal: Principal, action: str, before: Partner, after: Partner) -> Act:
        act = principal.act(action, before.partner_id, time=self._clock.now())
        return replace(act, details=_differences(before, after))

    def _fresh(self, now: datetime) -> tuple[PartnerToken, str]:
        text = new_partner_token()
        presented = present_partner_token(self._pepper, text)
        return PartnerToken(presented.token_id, presented.hash, text[-4:], now), text

    def _secret(self, partner_id: str) -> tuple[str, bytes]:
        secret = secrets.token_bytes(_SECRET_BYTES)
        return f"whsec_{base64.b64encode(secret).decode()}", self._sealer.seal(secret, partner_id)


def _check(wanted: PartnerWanted) -> None:
    if violations := wanted.violations():
        raise InvalidArgumentError.of(violations)


def _checked(partner_id: str) -> str:
    """Return an id that the store can look for; whatever has not its form exists nowhere."""
    if not is_partner_id(partner_id):
        raise no_partner(partner_id)
    return partner_id


def _differences(before: Partner, after: Partner) -> dict[str, Detail]:
    """Return what the audit log says of a change."""
    details: dict[str, Detail] = {
        what: [str(old), str(new)]
        for what in ("name", "network", "return_text", "is_enabled")
        if (old := getattr(before, what)) != (new := getattr(after, what))
    }
    if before.addresses != after.addresses:
        details |= {"addresses": list(after.addresses), "old_addresses": list(before.addresses)}
    if before.token != after.token:
        ends = after.old_token.expire_time if after.old_token else None
        details |= {"token_id": after.token.token_id, "old_expire_time": ends.isoformat() if ends else None}
    return details
