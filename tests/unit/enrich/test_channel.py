import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrichment import referrers
from enrichment.channel import Channel, Traffic, channel_of, read_traffic
from enrichment.click_marks import CLICK_MARKS
from enrichment.parameters import DEFAULT_ALIASES, parse_query
from enrichment.referrers import Category, host_of, site_named, site_of

OWN = frozenset({"shop.example", "go.acme.example"})


def traffic(query: bytes = b"", referrer: bytes = b"") -> Traffic:
    parameters = parse_query(query)
    return read_traffic(DEFAULT_ALIASES.resolve(parameters), parameters, referrer, OWN)


@pytest.mark.parametrize(
    ("query", "referrer", "expected"),
    [
        # tags
        ("utm_source=Newsletter&utm_medium=Email&utm_campaign=Summer", "", "newsletter email Summer email tagged"),
        ("utm_source=facebook&utm_medium=cpc&utm_campaign=x", "", "facebook cpc x paid_social tagged"),
        ("utm_source=google&utm_medium=cpc", "https://www.facebook.com/", "google cpc - paid_search tagged"),
        ("mtm_source=bing&mtm_medium=ppc&mtm_campaign=y", "", "bing ppc y paid_search tagged"),
        ("pk_source=youtube&pk_medium=cpc&pk_campaign=z", "", "youtube cpc z paid_video tagged"),
        ("source=facebook&medium=cpc&utm_campaign=summer2024", "", "facebook cpc summer2024 paid_social tagged"),
        ("source=propeller&medium=popunder", "", "propeller popunder - display tagged"),
        ("source=tiktok", "", "tiktok - - organic_video tagged"),
        ("utm_source=unheard&utm_medium=unheard", "", "unheard unheard - other tagged"),
        ("utm_source=unheard&utm_medium=cpc", "", "unheard cpc - paid_other tagged"),
        ("utm_source={source}&utm_medium={medium}", "", "direct - - direct direct"),
        ("utm_source=(direct)&utm_medium=(none)", "", "direct - - direct tagged"),
        # tags that leave something open
        ("utm_source=google&gclid=Cj0", "", "google cpc - paid_search tagged"),
        ("utm_campaign=Brand&gclid=Cj0", "", "google cpc Brand paid_search tagged"),
        ("utm_source=fb&fbclid=Iw", "", "fb paid_social - paid_social tagged"),
        ("utm_source=partnerx&fbclid=Iw", "", "partnerx - - other tagged"),
        ("utm_source=google", "https://www.google.de/", "google organic - organic_search tagged"),
        ("utm_campaign=c", "https://www.bing.com/", "bing organic c organic_search tagged"),
        ("utm_campaign=c", "", "- - c other tagged"),
        # click marks
        ("gclid=Cj0", "https://www.google.com/", "google cpc - paid_search click_mark"),
        ("wbraid=Cj0", "", "google cpc - paid_search click_mark"),
        ("GCLID=Cj0&fbclid=x", "", "google cpc - paid_search click_mark"),
        ("fbclid=IwAR", "https://l.facebook.com/", "facebook paid_social - paid_social click_mark"),
        ("ttclid=E.C.P", "", "tiktok paid_social - paid_social click_mark"),
        ("msclkid=1", "", "bing cpc - paid_search click_mark"),
        ("dclid=1", "", "google display - display click_mark"),
        ("tblci=1", "", "taboola native - display click_mark"),
        ("irclickid=1", "https://blog.example/", "impact affiliate - affiliate click_mark"),
        ("mc_cid=1", "", "mailchimp email - email click_mark"),
        ("igshid=1", "", "instagram social - organic_social click_mark"),
        ("gclid={gclid}", "", "direct - - direct direct"),
        ("gclid=", "https://duckduckgo.com/", "duckduckgo organic - organic_search referrer"),
        # referrers
        ("", "https://www.google.co.uk/search?q=x", "google organic - organic_search referrer"),
        ("", "https://yandex.com.tr/", "yandex organic - organic_search referrer"),
        ("", "https://de.search.yahoo.com/", "yahoo organic - organic_search referrer"),
        ("", "android-app://com.google.android.googlequicksearchbox/", "google organic - organic_search referrer"),
        ("", "https://l.instagram.com/?u=x", "instagram social - organic_social referrer"),
        ("", "https://t.co/abc", "twitter social - organic_social referrer"),
        ("", "https://out.reddit.com", "reddit social - organic_social referrer"),
        ("", "https://m.youtube.com/watch", "youtube video - organic_video referrer"),
        ("", "https://www.tiktok.com/", "tiktok video - organic_video referrer"),
        ("", "https://www.amazon.de/dp/1", "amazon referral - organic_shopping referrer"),
        ("", "https://chatgpt.com/", "chatgpt ai_assistant - ai_assistant referrer"),
        ("", "https://gemini.google.com/app", "gemini ai_assistant - ai_assistant referrer"),
        ("", "https://www.perplexity.ai/", "perplexity ai_assistant - ai_assistant referrer"),
        ("", "https://mail.google.com/mail/u/0", "gmail email - email referrer"),
        ("", "https://outlook.live.com/", "outlook email - email referrer"),
        ("", "https://www.Blog.example/post", "blog.example referral - referral referrer"),
        ("", "https://google.example.com/", "google.example.com referral - referral referrer"),
        ("", "https://notgoogle.com/", "notgoogle.com referral - referral referrer"),
        # ourselves, and nobody
        ("", "https://shop.example/cart", "- - - internal internal"),
        ("", "https://www.shop.example/", "- - - internal internal"),
        ("utm_source=mail&utm_medium=email", "https://shop.example/", "mail email - email tagged"),
        ("", "", "direct - - direct direct"),
        ("", "about:blank", "direct - - direct direct"),
        ("", "not a url", "direct - - direct direct"),
    ],
)
def test_where_a_visitor_came_from(query: str, referrer: str, expected: str) -> None:
    found = traffic(query.encode(), referrer.encode())
    fields = (found.source, found.medium, found.campaign, found.channel, found.rule)
    assert " ".join(field or "-" for field in fields) == expected


@pytest.mark.parametrize(
    ("source", "medium", "channel"),
    [
        ("google", "organic", "organic_search"),
        ("acme", "organic", "organic_search"),
        ("acme", "paid-search", "paid_search"),
        ("acme", "paid_social", "paid_social"),
        ("google", "paid", "paid_search"),
        ("ebay", "cpc", "paid_shopping"),
        ("acme", "retargeting", "paid_other"),
        ("acme", "cpm", "display"),
        ("acme", "banner", "display"),
        ("acme", "sms", "sms"),
        ("acme", "web_push", "push"),
        ("acme", "push", "push"),
        ("acme", "podcast", "audio"),
        ("acme", "affiliates", "affiliate"),
        ("acme", "e-mail", "email"),
        ("klaviyo", "", "email"),
        ("acme", "social-media", "organic_social"),
        ("acme", "video", "organic_video"),
        ("blog.example", "referral", "referral"),
        ("linkedin", "", "organic_social"),
        ("fb", "", "organic_social"),
        ("facebook.com", "cpc", "paid_social"),
        ("chatgpt.com", "", "ai_assistant"),
        ("direct", "", "direct"),
        ("", "", "other"),
        ("", "cpc", "paid_other"),
    ],
)
def test_the_channel_of_a_source_and_a_medium(source: str, medium: str, channel: str) -> None:
    assert channel_of(source, medium) == channel


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.COM/x", "example.com"), ("http://example.com:8080", "example.com"), ("//a.b/c", "a.b"),
        ("https://user:pw@example.com/", "example.com"), ("https://evil.example\\@google.com/", "evil.example"),
        ("example.com/path", "example.com"), ("  https://a.b", "a.b"), ("https://a.b.?x", "a.b"), ("ftp://a.b/", ""),
        ("javascript:alert(1)", ""), ("https://", ""), ("localhost", ""), ("http://localhost/", "localhost"),
        ("https://google.com@evil.example/", "evil.example"), ("https://a b.com", "a"), ("https://[::1]/", ""),
    ],
)  # fmt: skip
def test_the_host_is_the_one_that_a_browser_would_ask(url: str, host: str) -> None:
    assert host_of(url.encode()) == host


def test_values_and_names_that_someone_else_chose_are_bounded() -> None:
    found = traffic(b"utm_campaign=" + b"x" * 5000 + b"&utm_source=" + b"Y" * 5000)
    assert (len(found.campaign), len(found.source)) == (512, 512)


def test_no_host_is_listed_twice_and_none_is_hidden_by_a_shorter_one_of_another_kind() -> None:
    hosts = [
        host
        for _, text in referrers._LISTS
        for line in text.strip().splitlines()
        for host in line.partition(":")[2].split()
    ]
    assert len(hosts) == len(set(hosts))
    assert all(site_of(host) == referrers._BY_HOST[host] for host in hosts)
    assert all(site_named(name).category is not Category.UNKNOWN for name in referrers._NICKNAMES)


def test_every_click_mark_has_a_channel_and_every_source_of_one_is_consistent() -> None:
    assert all(name == name.lower() for name in CLICK_MARKS)
    assert all(channel_of(*mark) is not Channel.OTHER for mark in CLICK_MARKS.values())


@settings(deadline=None)  # first use fills caches
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_are_too_odd_to_come_from_somewhere(query: bytes, referrer: bytes) -> None:
    found = traffic(query, referrer)
    assert isinstance(found.channel, Channel)
    assert found == traffic(query, referrer)


SCHEMES = st.sampled_from(["", "//", "https://", "android-app://", " http://", "ios-app:", "ftp://"])
URL_LIKE = st.builds("{}{}".format, SCHEMES, st.text(alphabet="htps:/@.\\?#goeclm 0")).map(str.encode)


@settings(deadline=None)  # first use fills caches
@given(URL_LIKE)
def test_a_host_holds_nothing_but_a_host(url: bytes) -> None:
    host = host_of(url)
    assert host == referrers._host_in(url.lstrip())  # cutting the path off changes nothing
    assert not set(host) - set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    site_of(host)
