"""The language that a client asks for."""

import pytest

from enrichment.languages import read_language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (b"en-US,en;q=0.9", "en-US"),
        (b"de", "de"),
        (b"EN_gb;q=1", "en-GB"),
        (b"zh-hant-tw", "zh-Hant-TW"),
        (b" fr-CA , fr", "fr-CA"),
        (b"es-419", "es-419"),
        (b"*", ""),
        (b"", ""),
        (b"english", ""),
        (b"e", ""),
        (b"\xff\xfe", ""),
        (b"x" * 10_000, ""),
        (b"de-" + b"a" * 300, ""),
    ],
)
def test_the_first_language_counts(header: bytes, language: str) -> None:
    assert read_language(header) == language
