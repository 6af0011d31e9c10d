"""Who visits: sources with their click ids, devices, countries and bots, with about the shares that one meets."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where visitors come from."""

    name: str
    weight: int
    medium: str = ""
    referer: str = ""
    click_id_parameter: str = ""
    """The parameter in which the source sends its own click id."""
    click_id_prefix: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    """Further parameters that it always sends."""


@dataclass(frozen=True, slots=True)
class Device:
    """A browser as it presents itself."""

    user_agent: str
    weight: int


@dataclass(frozen=True, slots=True)
class Country:
    """A language and a range of addresses. The ranges are those reserved for documentation (RFC 5737, RFC 3849)."""

    code: str
    accept_language: str
    address_prefix: str
    weight: int


_SUMMER = ("utm_campaign", "summer2024")
SOURCES = (
    Source("facebook", 34, "cpc", "https://l.facebook.com/", "fbclid", "IwAR", (_SUMMER, ("ad_id", "23851"))),
    Source("google", 26, "cpc", "https://www.google.com/", "gclid", "Cj0KCQ", (_SUMMER, ("gad_source", "1"))),
    Source("tiktok", 14, "paid_social", "https://www.tiktok.com/", "ttclid", "E.C.P.", (_SUMMER,)),
    Source("newsletter", 10, "email", extra=(("utm_campaign", "june_issue"), ("mc_eid", "7f3a1c"))),
    Source("taboola", 6, "native", "https://www.taboola.com/", "click_id", "GiB", (("site", "msn"),)),
    Source("direct", 10),
)

_CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} {}Safari/537.36"
_SAFARI = "Mozilla/5.0 ({}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{} {}Safari/{}"
DEVICES = (
    Device(_SAFARI.format("iPhone; CPU iPhone OS 17_5 like Mac OS X", "17.5", "Mobile/15E148 ", "604.1"), 24),
    Device(_CHROME.format("Linux; Android 14; Pixel 8", "126.0.0.0", "Mobile "), 16),
    Device(_CHROME.format("Linux; Android 13; SM-S911B", "125.0.0.0", "Mobile "), 14),
    Device(_CHROME.format("Windows NT 10.0; Win64; x64", "126.0.0.0", ""), 22),
    Device(_CHROME.format("Windows NT 10.0; Win64; x64", "126.0.0.0", "") + " Edg/126.0.0.0", 6),
    Device(_SAFARI.format("Macintosh; Intel Mac OS X 10_15_7", "17.5", "", "605.1.15"), 9),
    Device("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", 4),
    Device(_SAFARI.format("iPad; CPU OS 17_5 like Mac OS X", "17.5", "Mobile/15E148 ", "604.1"), 5),
)
BOTS = (
    Device("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", 5),
    Device("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", 4),
    Device("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", 2),
    Device("python-requests/2.32.3", 1),
    Device("curl/8.8.0", 1),
)
COUNTRIES = (
    Country("US", "en-US,en;q=0.9", "192.0.2.", 40),
    Country("DE", "de-DE,de;q=0.9,en;q=0.6", "198.51.100.", 18),
    Country("FR", "fr-FR,fr;q=0.9,en;q=0.5", "203.0.113.", 14),
    Country("BR", "pt-BR,pt;q=0.9", "2001:db8:b2::", 14),
    Country("JP", "ja-JP,ja;q=0.9", "2001:db8:a1::", 14),
)
