"""What is sealed comes back to who sealed it, and to nobody else."""

import pytest

from svc_runtime.sealing import SealBrokenError, Sealer

SEALER = Sealer("m" * 40, "tests")
SECRET = b"whsec \x00\xff"


def test_a_secret_comes_back() -> None:
    assert SEALER.open(SEALER.seal(SECRET, "partner:1"), "partner:1") == SECRET
    assert Sealer("m" * 40, "tests").open(SEALER.seal(b"", "x"), "x") == b""


def test_a_sealed_secret_shows_nothing_of_it_and_is_never_twice_the_same() -> None:
    sealed = SEALER.seal(SECRET, "partner:1")
    assert SECRET not in sealed
    assert SEALER.seal(SECRET, "partner:1") != sealed


@pytest.mark.parametrize(
    ("sealer", "context"),
    [(Sealer("n" * 40, "tests"), "partner:1"), (Sealer("m" * 40, "others"), "partner:1"), (SEALER, "partner:2")],
    ids=["another mesh", "another purpose", "another thing"],
)
def test_nobody_else_opens_it(sealer: Sealer, context: str) -> None:
    with pytest.raises(SealBrokenError):
        sealer.open(SEALER.seal(SECRET, "partner:1"), context)


def test_whatever_was_changed_does_not_open() -> None:
    sealed = SEALER.seal(SECRET, "partner:1")
    for broken in (
        b"",
        sealed[:5],
        sealed[:-1],
        sealed + b"x",
        b"\x02" + sealed[1:],
        sealed[:20] + b"\0" + sealed[21:],
    ):
        with pytest.raises(SealBrokenError):
            SEALER.open(broken, "partner:1")
