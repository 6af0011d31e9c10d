"""Who sent the visitor: the sites that we know by name, written down by ourselves and kept short."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

LONGEST_BYTES = 512
"""What comes after is not read; a host is always before."""


class Category(StrEnum):
    """What kind of site sends visitors."""

    SEARCH = "search"
    SOCIAL = "social"
    VIDEO = "video"
    SHOPPING = "shopping"
    AI = "ai_assistant"
    MAIL = "mail"
    UNKNOWN = ""


class Site(NamedTuple):
    """A site that sends visitors."""

    name: str
    """Ours for the sites that we know, such as ``google``; the host, without ``www.``, of the others."""
    category: Category


_SEARCH = """
google: googleadservices.com syndicatedsearch.goog com.google.android.googlequicksearchbox
bing: bing.com cn.bing.com msn.com
yahoo: search.yahoo.com search.yahoo.co.jp
yandex: ya.ru
duckduckgo: duckduckgo.com com.duckduckgo.mobile.android
baidu: baidu.com
ecosia: ecosia.org
qwant: qwant.com
startpage: startpage.com
brave: search.brave.com
naver: search.naver.com
seznam: search.seznam.cz
sogou: sogou.com
so: so.com
daum: search.daum.net
kagi: kagi.com
mojeek: mojeek.com
swisscows: swisscows.com
aol: search.aol.com
ask: ask.com
coccoc: coccoc.com
presearch: presearch.com
"""
_SOCIAL = """
facebook: facebook.com fb.com fb.me messenger.com com.facebook.katana com.facebook.orca
instagram: instagram.com ig.me com.instagram.android
threads: threads.net threads.com
twitter: twitter.com x.com t.co com.twitter.android
linkedin: linkedin.com lnkd.in com.linkedin.android
reddit: reddit.com redd.it com.reddit.frontpage
pinterest: pin.it com.pinterest
snapchat: snapchat.com com.snapchat.android
whatsapp: whatsapp.com wa.me com.whatsapp
telegram: telegram.org telegram.me t.me org.telegram.messenger
discord: discord.com discordapp.com discord.gg
quora: quora.com
tumblr: tumblr.com
vk: vk.com vk.ru vkontakte.ru
ok: ok.ru
weibo: weibo.com weibo.cn
wechat: weixin.qq.com wechat.com
bluesky: bsky.app
mastodon: mastodon.social mastodon.online
line: line.me
slack: slack.com com.slack
hackernews: news.ycombinator.com
xing: xing.com
zalo: zalo.me
nextdoor: nextdoor.com
medium: medium.com
viber: viber.com
"""
_VIDEO = """
youtube: youtube.com youtu.be youtube-nocookie.com com.google.android.youtube
tiktok: tiktok.com com.zhiliaoapp.musically
vimeo: vimeo.com
twitch: twitch.tv
dailymotion: dailymotion.com
rutube: rutube.ru
bilibili: bilibili.com b23.tv
kuaishou: kuaishou.com
douyin: douyin.com
rumble: rumble.com
kick: kick.com
netflix: netflix.com
hulu: hulu.com
"""
_SHOPPING = """
amazon: amzn.to amzn.com
ebay: ebay.us
etsy: etsy.com
walmart: walmart.com
aliexpress: aliexpress.com aliexpress.ru
alibaba: alibaba.com
shopify: shop.app
temu: temu.com
rakuten: rakuten.com rakuten.co.jp
mercadolibre: mercadolibre.com mercadolivre.com.br
allegro: allegro.pl
ozon: ozon.ru
wildberries: wildberries.ru
idealo: idealo.de
googleshopping: shopping.google.com
target: target.com
zalando: zalando.de zalando.com
flipkart: flipkart.com
"""
_AI = """
chatgpt: chatgpt.com chat.openai.com openai.com
claude: claude.ai
gemini: gemini.google.com bard.google.com
copilot: copilot.microsoft.com copilot.cloud.microsoft
perplexity: perplexity.ai
deepseek: deepseek.com
mistral: chat.mistral.ai
grok: grok.com
metaai: meta.ai
poe: poe.com
you: you.com
phind: phind.com
notebooklm: notebooklm.google.com
doubao: doubao.com
kimi: kimi.com kimi.moonshot.cn
qwen: chat.qwen.ai
"""
_MAIL = """
gmail: mail.google.com com.google.android.gm
outlook: outlook.com outlook.live.com outlook.office.com outlook.office365.com mail.live.com
yahoomail: mail.yahoo.com mail.yahoo.co.jp
aolmail: mail.aol.com
icloudmail: icloud.com
protonmail: mail.proton.me
yandexmail: mail.yandex.ru mail.yandex.com
mailru: e.mail.ru mail.ru
gmx: gmx.net gmx.com gmx.de
webde: web.de
zohomail: mail.zoho.com mail.zoho.eu
fastmail: fastmail.com
qqmail: mail.qq.com
"""
_LISTS = (
    (Category.SEARCH, _SEARCH), (Category.SOCIAL, _SOCIAL), (Category.VIDEO, _VIDEO), (Category.SHOPPING, _SHOPPING),
    (Category.AI, _AI), (Category.MAIL, _MAIL),
)  # fmt: skip

# Sites with a host in many countries: google.de, google.co.uk, yandex.com.tr.
_BRANDS: Mapping[str, Category] = {
    "google": Category.SEARCH,
    "yandex": Category.SEARCH,
    "pinterest": Category.SOCIAL,
    "amazon": Category.SHOPPING,
    "ebay": Category.SHOPPING,
}
# What people write as a source for a site that we know.
_NICKNAMES: Mapping[str, str] = {
    "fb": "facebook", "meta": "facebook", "ig": "instagram", "insta": "instagram", "x": "twitter", "tt": "tiktok",
    "yt": "youtube", "adwords": "google", "googleads": "google", "google_ads": "google", "google-ads": "google",
    "bingads": "bing", "microsoft": "bing", "snap": "snapchat", "openai": "chatgpt", "tg": "telegram",
}  # fmt: skip


def _sites() -> dict[str, Site]:
    return {
        host: Site(line.partition(":")[0], category)
        for category, text in _LISTS
        for line in text.strip().splitlines()
        for host in line.partition(":")[2].split()
    }


_BY_HOST = _sites()
_BY_NAME = {
    **{site.name: site for site in _BY_HOST.values()},
    **{brand: Site(brand, category) for brand, category in _BRANDS.items()},
}

_LONGEST_SCHEME = len(b"android-app:///")
_HOST = re.compile(
    rb"(?:(?:(?:https?|android-app|ios-app):)?//(?:[^/?#@\\\s]*@)?(?P<host>[A-Za-z0-9_.-]+)"
    rb"|(?P<bare>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+))(?::[0-9]*)?(?=[/?#\\\s]|$)",
    re.IGNORECASE,
)


def host_of(url: bytes) -> str:
    """Return the host of a URL, in lower case; of ``android-app://package/…`` the package. Empty if there is none."""
    url = url[:LONGEST_BYTES].lstrip()
    end = url.find(b"/", _LONGEST_SCHEME)  # the path tells nothing, and one host has many
    return _host_in(url if end < 0 else url[:end])


@lru_cache(20_000)
def _host_in(url: bytes) -> str:
    found = _HOST.match(url)
    if found is None:
        return ""
    host: bytes = found["host"] or found["bare"]
    return host.decode().lower().strip(".")[:253]


@lru_cache(20_000)
def site_of(host: str) -> Site:
    """Return the site that a host, in lower case, belongs to."""
    labels = host.split(".")
    for start in range(len(labels)):
        site = _BY_HOST.get(".".join(labels[start:]))
        if site is not None:
            return site
    brand = _brand(labels)
    if brand:
        return Site(brand, _BRANDS[brand])
    return Site(host.removeprefix("www."), Category.UNKNOWN)


def site_named(source: str) -> Site:
    """Return the site that a source, in lower case, names: a name, a nickname or a host."""
    site = _BY_NAME.get(_NICKNAMES.get(source, source))
    if site is not None:
        return site
    return site_of(source) if "." in source else Site(source, Category.UNKNOWN)


def _brand(labels: list[str]) -> str:
    """Return the brand in ``google.de`` or ``google.co.uk``, with anything before it, or empty text."""
    if len(labels) >= 2 and labels[-2] in _BRANDS and (labels[-1] == "com" or len(labels[-1]) == 2):
        return labels[-2]
    if len(labels) >= 3 and labels[-3] in _BRANDS and labels[-2] in ("co", "com") and len(labels[-1]) == 2:
        return labels[-3]
    return ""
