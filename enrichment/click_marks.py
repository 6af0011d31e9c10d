"""What the click identifiers of networks say: a parameter of that name names its network and how it sends visitors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class ClickMark(NamedTuple):
    """What the presence of a network's parameter says."""

    source: str
    medium: str


_GOOGLE = ClickMark("google", "cpc")
_AFFILIATE = "affiliate"
_PAID_SOCIAL = "paid_social"

CLICK_MARKS: Mapping[bytes, ClickMark] = MappingProxyType(
    {
        b"gclid": _GOOGLE,
        b"wbraid": _GOOGLE,
        b"gbraid": _GOOGLE,
        b"gad_source": _GOOGLE,
        b"dclid": ClickMark("google", "display"),
        b"msclkid": ClickMark("bing", "cpc"),
        b"yclid": ClickMark("yandex", "cpc"),
        b"ymclid": ClickMark("yandex", "cpc"),
        b"vmcid": ClickMark("yahoo", "cpc"),
        b"fbclid": ClickMark("facebook", _PAID_SOCIAL),
        b"ttclid": ClickMark("tiktok", _PAID_SOCIAL),
        b"twclid": ClickMark("twitter", _PAID_SOCIAL),
        b"li_fat_id": ClickMark("linkedin", _PAID_SOCIAL),
        b"rdt_cid": ClickMark("reddit", _PAID_SOCIAL),
        b"sccid": ClickMark("snapchat", _PAID_SOCIAL),
        b"epik": ClickMark("pinterest", _PAID_SOCIAL),
        b"qclid": ClickMark("quora", _PAID_SOCIAL),
        b"obclid": ClickMark("outbrain", "native"),
        b"dicbo": ClickMark("outbrain", "native"),
        b"tblci": ClickMark("taboola", "native"),
        b"irclickid": ClickMark("impact", _AFFILIATE),
        b"cjevent": ClickMark("cj", _AFFILIATE),
        b"awc": ClickMark("awin", _AFFILIATE),
        b"ransiteid": ClickMark("rakuten", _AFFILIATE),
        b"sscid": ClickMark("shareasale", _AFFILIATE),
        b"tduid": ClickMark("tradedoubler", _AFFILIATE),
        b"ps_xid": ClickMark("partnerstack", _AFFILIATE),
        b"evclid": ClickMark("29next", _AFFILIATE),
        b"_ef_transaction_id": ClickMark("everflow", _AFFILIATE),
        b"dub_id": ClickMark("dub", _AFFILIATE),
        b"mc_cid": ClickMark("mailchimp", "email"),
        b"_hsenc": ClickMark("hubspot", "email"),
        b"mkt_tok": ClickMark("marketo", "email"),
        # Added by the app to what people share: the only ones that say nothing of money.
        b"igshid": ClickMark("instagram", "social"),
        b"igsh": ClickMark("instagram", "social"),
    }
)
"""By name in lower case, the strongest first: the first that an event has decides."""
