"""A change of rules or data is a new version: these tests fail until it is."""

import hashlib
from importlib.metadata import version
from typing import Any

from enrichment.bodies import body_pairs
from enrichment.channel import read_traffic
from enrichment.conversions import WORDS, happening_of
from enrichment.languages import read_language
from enrichment.money import read_money
from enrichment.parameters import DEFAULT_ALIASES, parse_query
from enrichment.referrers import site_of
from enrichment.status import VOCABULARY, read_status
from enrichment.times import read_time
from enrichment.user_agent import UserAgents
from enrichment.version import CHANGES, DATA, ENRICHMENT_VERSION
from tests.unit.enrich import (
    test_bodies,
    test_channel,
    test_languages,
    test_money,
    test_parameters,
    test_status,
    test_times,
    test_user_agent,
)
from tests.unit.enrich.people import PEOPLE

FINGERPRINTS = {
    1: "68f4f7a7de167d4542fc37be38a42e83015b88c8d581e06a63e0c148e165a5f5",
    2: "68f4f7a7de167d4542fc37be38a42e83015b88c8d581e06a63e0c148e165a5f5",
}
"""The corpus has no postback in which both stand: `test_conversion_reading` has."""


def outcomes() -> list[object]:
    """Everything that the corpus of these tests reads as."""
    agents = UserAgents()
    read: list[object] = [agents.read(text.encode()) for text, *_ in PEOPLE]
    read += [agents.read(text.encode()) for text in test_user_agent.DECLARED]
    for query, referrer in _cases(test_channel.test_where_a_visitor_came_from, 2):
        parameters = parse_query(query.encode())
        found = DEFAULT_ALIASES.resolve(parameters)
        read += [parameters, sorted(found.items()), read_traffic(found, parameters, referrer.encode())]
    read += [parse_query(b"x=" + text.encode()) for text in (*test_parameters.MACROS, *test_parameters.ORDINARY)]
    for (query,) in _cases(test_parameters.test_the_first_usable_alias_wins_and_is_named, 1):
        read.append(sorted(DEFAULT_ALIASES.resolve(parse_query(query)).items()))
    read += [read_money(text.encode()) for (text,) in _cases(test_money.test_amounts_as_people_write_them, 1)]
    read += [
        read_time(text.encode(), received_ms=0) for (text,) in _cases(test_times.test_instants_as_senders_write_them, 1)
    ]
    read += [read_status(word.encode()) for words in VOCABULARY.values() for word in sorted(words)]
    read += [
        read_status(text.encode())
        for (text,) in _cases(test_status.test_what_networks_do_not_agree_on_stays_unmapped, 1)
    ]
    read += [happening_of(word.encode()) for word in (*sorted(WORDS), "else")]
    read += [read_language(header) for (header,) in _cases(test_languages.test_the_first_language_counts, 1)]
    read += [body_pairs(body, test_bodies.JSON) for (body,) in _cases(test_bodies.test_members_of_json, 1)]
    read += [site_of(host) for host in ("www.google.de", "blog.example", "x.com")]
    return read


def _cases(test: object, width: int) -> list[tuple[Any, ...]]:
    (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]  # pytest's
    return [case[:width] for case in mark.args[1]]


def test_what_the_corpus_reads_as_is_that_of_this_version() -> None:
    digest = hashlib.sha256("\n".join(map(repr, outcomes())).encode()).hexdigest()
    assert digest == FINGERPRINTS[ENRICHMENT_VERSION], (
        f"derived values changed: raise ENRICHMENT_VERSION, say why in CHANGES, and add the fingerprint {digest}"
    )


def test_the_lists_are_those_of_this_version() -> None:
    assert {name: version(name) for name in DATA} == dict(DATA), (
        "other lists read differently: raise ENRICHMENT_VERSION"
    )


def test_every_version_says_what_it_changed() -> None:
    assert list(CHANGES) == list(range(1, ENRICHMENT_VERSION + 1))
    assert all(CHANGES.values())
