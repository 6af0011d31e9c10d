"""What a redirect makes of a request, and when a receiver wants to be asked again."""

from datetime import UTC, datetime, timedelta

import pytest

from attribution_svc.webhooks.guard import RefusedAddressError
from attribution_svc.webhooks.sender import Outgoing, redirected, retry_after

NOW = datetime(2026, 11, 20, 8, 0, 0, tzinfo=UTC)
SENT = Outgoing(
    "POST",
    "https://a.example/hook?x=1",
    {"Content-Type": "application/json", "X-Key": "s3cret", "X-Plain": "1"},
    b"{}",
    frozenset({"x-key"}),
)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        ("Fri, 20 Nov 2026 08:01:00 GMT", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 08:01:00", timedelta(minutes=1)),
        ("Fri, 20 Nov 2026 07:00:00 GMT", None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9999999999999", None),
        ("٣", None),
        ("Fri, 20 Nov 99999999999999999999 08:01:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, time: timedelta | None) -> None:
    assert retry_after(text, NOW) == time


@pytest.mark.parametrize("status", [307, 308])
def test_some_redirects_keep_what_is_sent(status: int) -> None:
    following = redirected(SENT, status, "/other")
    assert (following.method, following.url, following.body) == ("POST", "https://a.example/other", b"{}")
    assert following.headers == SENT.headers


@pytest.mark.parametrize("status", [301, 302, 303])
def test_others_turn_it_into_a_get(status: int) -> None:
    following = redirected(SENT, status, "?y=2")
    assert (following.method, following.url, following.body) == ("GET", "https://a.example/hook?y=2", b"")
    assert "Content-Type" not in following.headers


@pytest.mark.parametrize("location", ["https://b.example/", "https://a.example:8443/", "//b.example/x"])
def test_another_host_sees_no_secret(location: str) -> None:
    following = redirected(SENT, 307, location)
    assert following.headers == {"Content-Type": "application/json", "X-Plain": "1"}


def test_nothing_leads_out_of_https() -> None:
    for location in ("http://a.example/", "ftp://a.example/", "file:///etc/passwd"):
        with pytest.raises(RefusedAddressError):
            redirected(SENT, 307, location)


def test_what_is_sent_is_not_shown() -> None:
    assert "s3cret" not in repr(SENT)
