"""Says where a visitor came from: source, medium, campaign, and the channel that they make together."""

from collections.abc import Callable, Container, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from enrichment.click_marks import CLICK_MARKS, ClickMark
from enrichment.parameters import Found, Parameters
from enrichment.referrers import Category, Site, host_of, site_named, site_of

LONGEST_CHARACTERS = 512
_LONGEST_BYTES = 4 * LONGEST_CHARACTERS
NOT_SET = frozenset({"(not set)", "(none)", "none", "not set", "-"})
"""What is sent in place of a name that there is none of, in lower case."""
_DIRECT = frozenset({"direct", "(direct)"})


class Channel(StrEnum):
    """The kind of way that a visitor came."""

    DIRECT = "direct"
    INTERNAL = "internal"
    ORGANIC_SEARCH = "organic_search"
    PAID_SEARCH = "paid_search"
    ORGANIC_SOCIAL = "organic_social"
    PAID_SOCIAL = "paid_social"
    ORGANIC_VIDEO = "organic_video"
    PAID_VIDEO = "paid_video"
    ORGANIC_SHOPPING = "organic_shopping"
    PAID_SHOPPING = "paid_shopping"
    DISPLAY = "display"
    PAID_OTHER = "paid_other"
    AFFILIATE = "affiliate"
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    AUDIO = "audio"
    AI_ASSISTANT = "ai_assistant"
    REFERRAL = "referral"
    OTHER = "other"


class Traffic(NamedTuple):
    """Where a visitor came from. Empty text: nobody said."""

    source: str
    """Lower case."""
    medium: str
    """Lower case."""
    campaign: str
    """As it was sent."""
    channel: Channel
    rule: str
    """What decided: ``tagged``, ``click_mark``, ``referrer``, ``internal`` or ``direct``."""
    referrer_host: str


_MEDIUM_BY_CATEGORY: Mapping[Category, str] = {
    Category.SEARCH: "organic",
    Category.SOCIAL: "social",
    Category.VIDEO: "video",
    Category.SHOPPING: "referral",
    Category.AI: "ai_assistant",
    Category.MAIL: "email",
    Category.UNKNOWN: "referral",
}
_ORGANIC: Mapping[Category, Channel] = {
    Category.SEARCH: Channel.ORGANIC_SEARCH,
    Category.SOCIAL: Channel.ORGANIC_SOCIAL,
    Category.VIDEO: Channel.ORGANIC_VIDEO,
    Category.SHOPPING: Channel.ORGANIC_SHOPPING,
    Category.AI: Channel.AI_ASSISTANT,
    Category.MAIL: Channel.EMAIL,
}
_PAID: Mapping[Category, Channel] = {
    Category.SEARCH: Channel.PAID_SEARCH,
    Category.SOCIAL: Channel.PAID_SOCIAL,
    Category.VIDEO: Channel.PAID_VIDEO,
    Category.SHOPPING: Channel.PAID_SHOPPING,
}


def _words(words: str, channel: Channel) -> dict[str, Channel]:
    return dict.fromkeys(words.split(), channel)


# A medium that says it all, whatever the source. Letters and digits only: `paid-social` is `paidsocial`.
_BY_MEDIUM: Mapping[str, Channel] = {
    **_words("email mail newsletter emailmarketing", Channel.EMAIL),
    **_words("sms mms", Channel.SMS),
    **_words("push webpush mobilepush pushnotification notification", Channel.PUSH),
    **_words("affiliate affiliates partner partners cps cpl", Channel.AFFILIATE),
    **_words("display banner banners native programmatic interstitial expandable cpm", Channel.DISPLAY),
    **_words("pop popunder popup popads onclick clickunder teaser inpage", Channel.DISPLAY),
    **_words("audio podcast radio", Channel.AUDIO),
    **_words("social socialmedia socialnetwork sm smm organicsocial", Channel.ORGANIC_SOCIAL),
    **_words("video organicvideo", Channel.ORGANIC_VIDEO),
    **_words("organicsearch seo", Channel.ORGANIC_SEARCH),
    **_words("organicshopping", Channel.ORGANIC_SHOPPING),
    **_words("paidsearch sem", Channel.PAID_SEARCH),
    **_words("paidsocial cpcsocial socialpaid socialads", Channel.PAID_SOCIAL),
    **_words("paidvideo videoads cpv", Channel.PAID_VIDEO),
    **_words("paidshopping shoppingads pla", Channel.PAID_SHOPPING),
    **_words("ai aiassistant llm chatbot", Channel.AI_ASSISTANT),
}
_PAID_MEDIA = frozenset(["cpa", "ads", "ad", "adwords", "retargeting", "remarketing"])
_PASSED_ON = frozenset(["referral", "referrer", "link", "app", "blog", "forum", "website", "site"])
_BY_SOURCE: Mapping[str, Channel] = {
    **_words("email newsletter mailchimp klaviyo sendgrid hubspot brevo", Channel.EMAIL),
    **_words("sms", Channel.SMS),
    **_words("push", Channel.PUSH),
    **_words("affiliate", Channel.AFFILIATE),
    **_words("outbrain taboola", Channel.DISPLAY),
}


def channel_of(source: str, medium: str) -> Channel:
    """Return the channel of a source and a medium, both in lower case. The first rule that holds decides."""
    word = "".join(filter(str.isalnum, medium))
    if source in _DIRECT and not word:
        return Channel.DIRECT
    if word in _BY_MEDIUM:
        return _BY_MEDIUM[word]
    category = site_named(source).category
    if word in _PAID_MEDIA or word.startswith(("paid", "cpc", "ppc")):
        return _PAID.get(category, Channel.PAID_OTHER)
    if source in _BY_SOURCE:
        return _BY_SOURCE[source]
    if category is not Category.UNKNOWN:
        return _ORGANIC[category]
    if word == "organic":
        return Channel.ORGANIC_SEARCH
    return Channel.REFERRAL if word in _PASSED_ON else Channel.OTHER


def read_traffic(
    found: Mapping[str, Found], parameters: Parameters, referrer: bytes, own_hosts: Container[str] = ()
) -> Traffic:
    """Say where the visitor of one event came from.

    ``found``: what ``Aliases.resolve`` made of ``parameters``. ``referrer``: the Referer, or what the page reported.
    ``own_hosts``: hosts of the organisation, in lower case; one of them as the referrer is no new visit.
    """
    host = host_of(referrer) if referrer else ""
    source, medium, campaign = found.get("source"), found.get("medium"), found.get("campaign")
    mark = None if _MARKS.isdisjoint(parameters.first) else _click_mark(parameters)
    campaign_text = _text(campaign.value) if campaign is not None else ""
    source_text, medium_text, channel, rule = _decided(
        source.value[:_LONGEST_BYTES] if source is not None else b"",
        medium.value[:_LONGEST_BYTES] if medium is not None else b"",
        bool(campaign_text),
        mark,
        host,
        bool(host) and _is_own(host, own_hosts),
    )
    return Traffic(source_text, medium_text, campaign_text, channel, rule, host)


@lru_cache(5_000)
def _decided(
    raw_source: bytes, raw_medium: bytes, has_campaign: bool, mark: ClickMark | None, host: str, is_internal: bool
) -> tuple[str, str, Channel, str]:
    """Return source, medium, channel and rule. Remembered: an organisation's visitors come in few ways."""
    source, medium = _folded(raw_source), _folded(raw_medium)
    site = site_of(host) if host and not is_internal else None
    if source or medium or has_campaign:
        source, medium = _completed(source, medium, mark, site)
        return source, medium, channel_of(source, medium), "tagged"
    if mark is not None:
        return *mark, channel_of(*mark), "click_mark"
    if site is not None:
        medium = _MEDIUM_BY_CATEGORY[site.category]
        return site.name, medium, channel_of(site.name, medium), "referrer"
    if is_internal:
        return "", "", Channel.INTERNAL, "internal"
    return "direct", "", Channel.DIRECT, "direct"


def _completed(source: str, medium: str, mark: ClickMark | None, site: Site | None) -> tuple[str, str]:
    """Fill what the tags leave open: from the click mark, else from the referrer, where they speak of the same site."""
    named = site_named(source).name if source else ""
    if mark is not None and named in ("", mark.source):
        return source or mark.source, medium or mark.medium
    if site is not None and named in ("", site.name):
        return source or site.name, medium or _MEDIUM_BY_CATEGORY[site.category]
    return source, medium


def _click_mark(parameters: Parameters) -> ClickMark | None:
    usable = [name for name in parameters.first if name in _MARKS and parameters.get(name)]
    return CLICK_MARKS[min(usable, key=_STRENGTH)] if usable else None


_MARKS = frozenset(CLICK_MARKS)
_STRENGTH: Callable[[bytes], int] = {name: rank for rank, name in enumerate(CLICK_MARKS)}.__getitem__


def _is_own(host: str, own_hosts: Container[str]) -> bool:
    while host:
        if host in own_hosts:
            return True
        host = host.partition(".")[2]
    return False


def _text(value: bytes) -> str:
    text = value[:_LONGEST_BYTES].decode("utf-8", "replace")[:LONGEST_CHARACTERS]
    return "" if text.lower() in NOT_SET else text


def _folded(value: bytes) -> str:
    text = _text(value).lower()[:LONGEST_CHARACTERS]  # some letters are longer in lower case
    return "direct" if text in _DIRECT else text
