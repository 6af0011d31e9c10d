import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.status import VOCABULARY, Status, StatusReading, compile_overrides, read_status


@pytest.mark.parametrize(("status", "word"), [(status, word) for status, words in VOCABULARY.items() for word in words])
def test_a_word_of_the_vocabulary_is_mapped_in_any_case(status: Status, word: str) -> None:
    for text in (word, word.upper(), f" {word.title()} "):
        assert read_status(text.encode()) == StatusReading(status, "")


def test_no_word_has_two_meanings() -> None:
    words = [word for words in VOCABULARY.values() for word in words]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1", "code"), ("2", "code"), ("3", "code"), ("0", "code"), ("-1", "code"), ("10", "code"), ("A", "code"),
        ("P", "code"), ("dep", "unknown"), ("subscribe", "unknown"), ("accept", "unknown"), ("whatever", "unknown"),
        ("", "empty"), (" , ", "empty"), ("{status}", "macro"), ("REPLACE", "macro"), ("[REPLACE]", "macro"),
        ("reg,dep,lead,approve,reject,rebill", "conflicting_list"), ("2,5", "code"), ("2%2C5", "code"),
        ("approved,rejected", "conflicting_list"),
    ],
)  # fmt: skip
def test_what_networks_do_not_agree_on_stays_unmapped(text: str, reason: str) -> None:
    assert read_status(text.encode()) == StatusReading(Status.UNMAPPED, reason)


def test_a_list_of_one_meaning_has_that_meaning() -> None:
    assert read_status(b"approved,paid%2Crebill").status is Status.SALE


def test_a_networks_own_words_come_first() -> None:
    own = compile_overrides({Status.SALE: "Approved,1", Status.LEAD: ["hold", "2%2C5"], Status.REJECTED: "trash,sale"})
    assert read_status(b"1", own).status is Status.SALE
    assert read_status(b"5", own).status is Status.LEAD
    assert read_status(b"2,5", own).status is Status.LEAD
    assert read_status(b"SALE", own).status is Status.REJECTED
    assert read_status(b"pending", own).status is Status.LEAD
    assert read_status(b"3", own) == StatusReading(Status.UNMAPPED, "code")


def test_a_word_with_two_meanings_is_refused() -> None:
    with pytest.raises(ValueError, match="'1' cannot be both sale and lead"):
        compile_overrides({Status.SALE: "1", Status.LEAD: "2,1"})


@given(st.binary(max_size=300))
def test_no_bytes_are_too_odd_to_be_unmapped(raw: bytes) -> None:
    reading = read_status(raw)
    assert (reading.status is Status.UNMAPPED) == bool(reading.reason)


@given(st.integers())
def test_a_number_is_never_mapped_globally(number: int) -> None:
    assert read_status(str(number).encode()).status is Status.UNMAPPED
