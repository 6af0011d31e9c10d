"""The form of a partner's token: ``wdn_pt_`` and, as in a key, 22 of public id, 22 of secret and 6 check digits.

It stands in URLs that partners call, so it is recognised by its look alone wherever it is, and may only send
conversions.
"""

import re
from dataclasses import dataclass, field

from svc_runtime.errors import UnauthenticatedError
from svc_runtime.keys import CRC_LENGTH, ID_LENGTH, SECRET_LENGTH, check_digits, hash_key, random_text

PREFIX = "wdn_pt_"
_TOKEN = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})[0-9A-Za-z]{{{SECRET_LENGTH + CRC_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """What it takes to look a token up: find ``token_id``, then compare ``hash`` with ``keys.same_hash``."""

    token_id: str
    hash: bytes = field(repr=False)


def new_partner_token() -> str:
    """Make a token from the system's randomness."""
    start = PREFIX + random_text(ID_LENGTH + SECRET_LENGTH)
    return start + check_digits(start)


def present_partner_token(pepper: bytes, text: str) -> PresentedToken:
    """Read and hash a token. Raise UnauthenticatedError(KEY_MALFORMED), whose text repeats nothing of it."""
    found = _TOKEN.fullmatch(text)
    if found is None or check_digits(text[:-CRC_LENGTH]) != text[-CRC_LENGTH:]:
        raise UnauthenticatedError("the token is mistyped or cut: its check digits do not fit", reason="KEY_MALFORMED")
    return PresentedToken(found[1], hash_key(pepper, text))
