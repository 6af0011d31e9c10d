"""The form of a Warden key: how it is made, recognised without a look-up, and hashed.

A generated key is ``wdn_{sk|pk}_{live|test}_`` and 50 characters of base62: 22 of public id, 22 of secret and 6 of
CRC-32 over everything before them, so a typo dies here and not in a look-up. A *fixed* key is one that the operator
chose (``wdn_sk_live_acmecorp_key``): the same prefix and 1 to 40 characters, of which Warden alone says whether it is a
key at all. No fixed key is as long as a damaged generated one.
"""

import enum
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

from svc_runtime.errors import UnauthenticatedError

ID_LENGTH = 22
SECRET_LENGTH = 22
CRC_LENGTH = 6
LONGEST_FIXED_BODY = 40

UNDERSCORE = "(?:_|%5[Ff])"
"""As it may stand in a URL: percent-encoded it need not be, and is by some."""
SECRET = rf"wdn{UNDERSCORE}(sk|pt){UNDERSCORE}[A-Za-z0-9_%]+"
"""Any text that looks like a secret key or a partner's token: it is kept nowhere, and logged nowhere."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY_LENGTH = ID_LENGTH + SECRET_LENGTH + CRC_LENGTH
_GENERATED = re.compile(rf"wdn_(sk|pk)_(live|test)_([0-9A-Za-z]{{{_BODY_LENGTH}}})")
_FIXED = re.compile(rf"wdn_(sk|pk)_(live|test)_[0-9A-Za-z_]{{1,{LONGEST_FIXED_BODY}}}")


class KeyKind(enum.Enum):
    """What a key may be used for; the value is its part of the prefix."""

    SECRET = "sk"  # noqa: S105 - the two letters in the prefix
    PUBLISHABLE = "pk"


class KeyEnvironment(enum.Enum):
    """Tests or the real thing; the value is its part of the prefix."""

    LIVE = "live"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """What a key's text says by itself, with nothing looked up."""

    kind: KeyKind
    environment: KeyEnvironment
    key_id: str
    """Public id; empty for a fixed key, whose id needs its hash (``fixed_key_id``)."""

    @property
    def is_fixed(self) -> bool:
        """True when the text has the prefix but not the form of a generated key."""
        return not self.key_id


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """What it takes to look a key up: find the record of ``key_id``, then compare ``hash`` with ``same_hash``."""

    kind: KeyKind
    environment: KeyEnvironment
    key_id: str
    hash: bytes


def new_key(kind: KeyKind, environment: KeyEnvironment) -> str:
    """Make a key from the system's randomness."""
    start = f"wdn_{kind.value}_{environment.value}_{random_text(ID_LENGTH + SECRET_LENGTH)}"
    return start + check_digits(start)


def random_text(length: int) -> str:
    """Return letters and digits from the system's randomness."""
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def parse_key(text: str) -> ParsedKey:
    """Read a key's text.

    Raise UnauthenticatedError(KEY_MALFORMED) when it cannot be a key or its check digits are wrong; the error's text
    repeats nothing of it.
    """
    found = _GENERATED.fullmatch(text)
    if found is not None:
        if check_digits(text[:-CRC_LENGTH]) != text[-CRC_LENGTH:]:
            raise UnauthenticatedError(
                "the key is mistyped or cut: its check digits do not fit", reason="KEY_MALFORMED"
            )
        return ParsedKey(KeyKind(found[1]), KeyEnvironment(found[2]), found[3][:ID_LENGTH])
    found = _FIXED.fullmatch(text)
    if found is None:
        raise UnauthenticatedError("this does not have the form of a key", reason="KEY_MALFORMED")
    return ParsedKey(KeyKind(found[1]), KeyEnvironment(found[2]), "")


def present_key(pepper: bytes, text: str) -> PresentedKey:
    """Parse and hash a key, fixed ones too. Raise what ``parse_key`` raises."""
    parsed = parse_key(text)
    hashed = hash_key(pepper, text)
    return PresentedKey(parsed.kind, parsed.environment, parsed.key_id or fixed_key_id(hashed), hashed)


def hash_key(pepper: bytes, key: str) -> bytes:
    """Return HMAC-SHA256 of the whole key under the mesh's pepper: 32 bytes."""
    return hmac.digest(pepper, key.encode(), "sha256")


def same_hash(one: bytes, other: bytes) -> bool:
    """Compare two hashes in constant time."""
    return hmac.compare_digest(one, other)


def fixed_key_id(hash_: bytes) -> str:
    """Return the public id of a fixed key: the first 16 bytes of its hash in hexadecimal."""
    return hash_[:16].hex()


def check_digits(start: str) -> str:
    """Return the six digits that end what begins so, in ASCII."""
    rest = zlib.crc32(start.encode("ascii"))
    digits = []
    for _ in range(CRC_LENGTH):
        rest, digit = divmod(rest, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
