"""Partners on PostgreSQL, in Warden's database."""

from typing import Any

from auth_svc.audit import Act
from auth_svc.partner import Partner, PartnerToken
from auth_svc.store import DecidePartner, PartnerPosition, errors
from auth_svc.store.acting import acting, refusing, take_effect
from auth_svc.store.rows import Row
from svc_runtime.postgres import Database

_COLUMNS = (
    "partner_id, organization_id, name, network, token_id, token_hash, token_last_four, token_create_time, "
    "old_token_id, old_token_hash, old_token_last_four, old_token_create_time, old_token_expire_time, "
    "sealed_secret, addresses, return_text, is_enabled, create_time, revoke_time"
)
_INSERT = f"""
INSERT INTO partners ({_COLUMNS}, revision)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
"""  # noqa: S608 - a constant list of columns
_COUNT = "SELECT count(*) FROM partners WHERE organization_id = $1 AND revoke_time IS NULL"
_GET = f"SELECT {_COLUMNS} FROM partners WHERE organization_id = $1 AND partner_id = $2"  # noqa: S608 - a constant list of columns
_LIST = f"""
SELECT {_COLUMNS} FROM partners
WHERE organization_id = $1 AND ($2 OR revoke_time IS NULL)
  AND ($3::timestamptz IS NULL OR (create_time, partner_id) < ($3, $4::text))
ORDER BY create_time DESC, partner_id DESC LIMIT $5
"""  # noqa: S608 - a constant list of columns
_UPDATE = """
UPDATE partners SET name = $3, network = $4, token_id = $5, token_hash = $6, token_last_four = $7,
    token_create_time = $8, old_token_id = $9, old_token_hash = $10, old_token_last_four = $11,
    old_token_create_time = $12, old_token_expire_time = $13, sealed_secret = $14, addresses = $15, return_text = $16,
    is_enabled = $17, create_time = $18, revoke_time = $19, revision = $20
WHERE partner_id = $1 AND organization_id = $2
"""
CHANGED_PARTNERS = f"SELECT {_COLUMNS} FROM partners WHERE revision > $1"  # noqa: S608 - a constant list of columns


class PostgresPartnerStore:
    """A ``PartnerStore`` in Warden's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_partner(self, partner: Partner, act: Act, *, most: int) -> None:
        """Add a partner. Raise NotFoundError, FailedPreconditionError, AlreadyExistsError."""
        async with acting(self._database) as connection:
            if await connection.fetchval(_COUNT, partner.organization_id) >= most:
                raise errors.too_many_partners(most)
            revision = await take_effect(connection, act)
            with refusing(
                unique=errors.partner_exists(partner.partner_id),
                foreign=errors.no_organization(partner.organization_id),
            ):
                await connection.execute(_INSERT, *_values(partner), revision)

    async def get_partner(self, organization_id: str, partner_id: str) -> Partner:
        """Return a partner or raise NotFoundError."""
        async with self._database.connection() as connection:
            return _found(await connection.fetchrow(_GET, organization_id, partner_id), partner_id)

    async def list_partners(
        self, organization_id: str, *, includes_revoked: bool, after: PartnerPosition | None, limit: int
    ) -> list[Partner]:
        """Return up to ``limit`` partners after a position, newest first."""
        create_time, partner_id = after or (None, None)
        async with self._database.connection() as connection:
            found = await connection.fetch(_LIST, organization_id, includes_revoked, create_time, partner_id, limit)
            return [partner_from(row) for row in found]

    async def change_partner(self, organization_id: str, partner_id: str, decide: DecidePartner) -> Partner:
        """Change a partner as ``decide`` says; return it after that, or raise NotFoundError."""
        async with acting(self._database) as connection:
            partner = _found(await connection.fetchrow(_GET, organization_id, partner_id), partner_id)
            change = decide(partner)
            if change is None:
                return partner
            revision = await take_effect(connection, change.act)
            await connection.execute(_UPDATE, *_values(change.partner), revision)
            return change.partner


def partner_from(row: Row) -> Partner:
    """Read a row of ``partners``."""
    old = None
    if row["old_token_id"] is not None:
        old = PartnerToken(
            row["old_token_id"],
            row["old_token_hash"],
            row["old_token_last_four"],
            row["old_token_create_time"],
            row["old_token_expire_time"],
        )
    return Partner(
        partner_id=row["partner_id"],
        organization_id=row["organization_id"],
        name=row["name"],
        network=row["network"],
        token=PartnerToken(row["token_id"], row["token_hash"], row["token_last_four"], row["token_create_time"]),
        create_time=row["create_time"],
        old_token=old,
        sealed_secret=row["sealed_secret"],
        addresses=tuple(row["addresses"]),
        return_text=row["return_text"],
        is_enabled=row["is_enabled"],
        revoke_time=row["revoke_time"],
    )


def _values(partner: Partner) -> tuple[Any, ...]:
    token, old = partner.token, partner.old_token
    return (
        partner.partner_id,
        partner.organization_id,
        partner.name,
        partner.network,
        *(token.token_id, token.hash, token.last_four, token.create_time),
        *(5 * (None,) if old is None else (old.token_id, old.hash, old.last_four, old.create_time, old.expire_time)),
        partner.sealed_secret,
        list(partner.addresses),
        partner.return_text,
        partner.is_enabled,
        partner.create_time,
        partner.revoke_time,
    )


def _found(row: Row | None, partner_id: str) -> Partner:
    if row is None:
        raise errors.no_partner(partner_id)
    return partner_from(row)
