"""The word for an event."""

import pytest

from enrichment.conversions import Happening, happening_of


@pytest.mark.parametrize(
    ("word", "happening"),
    [
        (b"click", Happening.STEP),
        (b"Page View", Happening.STEP),
        (b"add_to_cart", Happening.STEP),
        (b"addToCart", Happening.STEP),
        (b"refund", Happening.STEP),
        (b"purchase", Happening.CONVERSION),
        (b"Order Completed", Happening.CONVERSION),
        (b" sign-up ", Happening.CONVERSION),
        (b"$purchase", Happening.CONVERSION),
        (b"conversion", Happening.CONVERSION),
        (b"pixel", Happening.OTHER),
        (b"event", Happening.OTHER),
        (b"purchases", Happening.OTHER),
        (b"", Happening.OTHER),
        (b"\xff\xfe", Happening.OTHER),
        (b"click" * 1000, Happening.OTHER),
    ],
)
def test_what_a_word_says(word: bytes, happening: Happening) -> None:
    assert happening_of(word) is happening
