"""What may be redirected to."""

import ipaddress
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.campaigns.destination import MAX_CHARACTERS, read_destination


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://shop.acmecorp.com/summer-sale", "https://shop.acmecorp.com/summer-sale"),
        ("http://localhost", "http://localhost"),
        ("https://shop.example?x=1", "https://shop.example?x=1"),
        ("https://shop.example#part", "https://shop.example#part"),
        ("HTTPS://Shop.Example/Path?Q=A#F", "https://shop.example/Path?Q=A#F"),
        ("https://shop.example:8443/a", "https://shop.example:8443/a"),
        ("https://shop.example:00443/a", "https://shop.example:443/a"),
        ("https://a_b.example/", "https://a_b.example/"),
        ("http://192.0.2.1/a", "http://192.0.2.1/a"),
        ("http://[2001:DB8:0:0::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("https://münchen.de/straße?q=größe", "https://xn--mnchen-3ya.de/stra%C3%9Fe?q=gr%C3%B6%C3%9Fe"),
        ("https://MÜNCHEN.de/", "https://xn--mnchen-3ya.de/"),
        ("https://xn--strae-oqa.de/", "https://xn--strae-oqa.de/"),
        ("https://例え.jp/", "https://xn--r8jz45g.jp/"),
        ("https://💩.example/", "https://xn--ls8h.example/"),
        ("https://shop.example/a%20b?c=%0d%0a", "https://shop.example/a%20b?c=%0d%0a"),
        ("https://shop.example/?a[]=1&b='(x)'&c=a+b;d!$*", "https://shop.example/?a[]=1&b='(x)'&c=a+b;d!$*"),
        ('https://shop.example/?q="<a>^`|', "https://shop.example/?q=%22%3Ca%3E%5E%60%7C"),
        ("https://shop.example//evil.example", "https://shop.example//evil.example"),
        ("https://shop.example/@evil.example", "https://shop.example/@evil.example"),
        ("https://shop.example/?u=https://evil.example", "https://shop.example/?u=https://evil.example"),
    ],
)
def test_a_right_destination_gets_its_one_spelling(text: str, url: str) -> None:
    assert read_destination(text).url == url
    assert not read_destination(text).problems


_SCHEME = "must begin with http:// or https://"
_CONTROL = "has a control character"
_SPACE = "has white space: write %20"
_BACKSLASH = "has a backslash: write %5C"
_MACRO = "has { or }: no macros here"
_USER = "has user information before the host"
_NO_HOST = "has no host"
_HOST = "has a host that is no valid host name"
_IPV4 = "has a host that ends like an IPv4 address but is none in its usual form, as 192.0.2.1"
_IPV6 = "has a host in brackets that is no IPv6 address"
_IDN = "has a host that does not survive normalisation: give its xn-- form"
_PORT = "has a port that is no number from 1 to 65535"
_PERCENT = "has a % that begins no escape: write %25"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [_SCHEME]),
        ("shop.example/a", [_SCHEME]),
        ("//evil.example", [_SCHEME]),
        ("/\\evil.example", [_BACKSLASH, _SCHEME]),
        ("https:evil.example", [_SCHEME]),
        ("https:/evil.example", [_SCHEME]),
        ("javascript:alert(1)", [_SCHEME]),
        ("data:text/html,x", [_SCHEME]),
        ("ftp://shop.example/", [_SCHEME]),
        (" https://shop.example/", [_SPACE, _SCHEME]),
        ("ht\ttps://shop.example/", [_CONTROL, _SCHEME]),
        ("https://", [_NO_HOST]),
        ("https:///path", [_NO_HOST]),
        ("https://?x=1", [_NO_HOST]),
        ("https://:443/", [_NO_HOST]),
        ("https://shop.example/a b", [_SPACE]),
        ("https://shop.example/a\u3000b", [_SPACE]),
        ("https://shop.example/a\u2028b", [_SPACE]),
        ("https://shop.example/\r\nSet-Cookie: a=b", [_CONTROL, _SPACE]),
        ("https://shop.example/\x00", [_CONTROL]),
        ("https://shop.example/\x7f", [_CONTROL]),
        ("https://shop.example/\x85", [_CONTROL]),
        ("https://shop.example\\@evil.example/", [_BACKSLASH]),
        ("https://good.example@evil.example/", [_USER]),
        ("https://user:pass@shop.example/", [_USER]),
        ("https://@shop.example/", [_USER]),
        ("https://shop.example:/", [_PORT]),
        ("https://shop.example:0/", [_PORT]),
        ("https://shop.example:65536/", [_PORT]),
        ("https://shop.example:99999999999999999999/", [_PORT]),
        ("https://shop.example:٤٤٣/", [_PORT]),
        ("https://shop.example:80:80/", [_PORT]),
        ("https://shop..example/", [_HOST]),
        ("https://shop.example./", [_HOST]),
        ("https://-shop.example/", [_HOST]),
        ("https://shop-.example/", [_HOST]),
        ("https://sh%6fp.example/", [_HOST]),
        ("https://shop.example,evil.example/", [_HOST]),
        ("https://shop!.example/", [_HOST]),
        (f"https://{'a' * 64}.example/", [_HOST]),
        (f"https://{'.'.join(['a' * 50] * 6)}/", [_HOST]),
        ("https://xn--a/", [_HOST]),
        ("https://xn--.example/", [_HOST]),
        ("http://2130706433/", [_IPV4]),
        ("http://127.1/", [_IPV4]),
        ("http://0x7f.0.0.1/", [_IPV4]),
        ("http://127.0.0.0x1/", [_IPV4]),
        ("http://127.0.0.01/", [_IPV4]),
        ("http://256.0.0.1/", [_IPV4]),
        ("http://shop.example.1/", [_IPV4]),
        ("http://[::1/", [_IPV6, _PORT]),
        ("http://[::g]/", [_IPV6]),
        ("http://[fe80::1%25eth0]/", ["has an IPv6 address with a zone"]),
        ("https://faß.de/", [_IDN]),
        ("https://shop。example/", [_IDN]),
        ("https://\uff53hop.example/", [_IDN]),
        ("https://shop.example\u2100/", [_IDN]),
        ("https://a\u200db.example/", [_IDN]),
        ("https://shop.example/{click_id}", [_MACRO]),
        ("https://shop.example/?a=}", [_MACRO]),
        ("https://shop.example/100%", [_PERCENT]),
        ("https://shop.example/?a=%zz", [_PERCENT]),
        (
            "https://user@exa mple:0/{x}\\%\n",
            [_CONTROL, _SPACE, _BACKSLASH, _MACRO, _USER, _HOST, _PORT, _PERCENT],
        ),
    ],
)
def test_a_wrong_destination_is_refused_with_everything_that_is_wrong(text: str, problems: list[str]) -> None:
    assert list(read_destination(text).problems) == problems
    assert not read_destination(text).url


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("https://shop.example/" + "a" * (MAX_CHARACTERS - 21), True),
        ("https://shop.example/" + "a" * (MAX_CHARACTERS - 20), False),
        ("https://shop.example/" + "é" * 700, False),
    ],
)
def test_the_length_counts_before_and_after_percent_encoding(text: str, is_right: bool) -> None:
    assert bool(read_destination(text).url) is is_right
    assert any("4096 are allowed" in problem for problem in read_destination(text).problems) is not is_right


@given(
    st.one_of(
        st.text(),
        st.text().map(lambda text: f"https://shop.example/{text}"),
        st.text().map(lambda text: f"https://{text}/"),
        st.text(alphabet="[]:@/\\?#%.-axAX019éß。{} \n").map(lambda text: f"http://{text}"),
    )
)
def test_what_is_accepted_is_ascii_stable_and_has_the_same_host_for_another_parser(text: str) -> None:
    url = read_destination(text).url
    if not url:
        assert read_destination(text).problems
        return
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(' \\{}"<>')
    assert read_destination(url).url == url
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.username is None
    assert parts.hostname
    host = parts.hostname
    spelled = f"[{ipaddress.IPv6Address(host).compressed}]" if ":" in host else host
    assert parts.netloc == (f"{spelled}:{parts.port}" if parts.port else spelled)


@given(st.text(min_size=1, max_size=50))
def test_any_text_fits_into_a_path_once_it_is_percent_encoded(text: str) -> None:
    url = f"https://shop.example/{quote(text, safe='')}"
    assert read_destination(url).url == url
