"""The parameter names that senders use, by what we call them. Left to right: the first usable value wins."""

from collections.abc import Mapping
from types import MappingProxyType

DEFAULT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "click_id": (
            "click_id", "clickid", "cid", "subid", "sub_id", "aff_click_id", "visit_id", "cnv_id", "uclick",
            "transaction_id", "tid", "dub_id", "sub1", "subid1", "sub_id1", "aff_sub", "s2", "s1", "p1", "data1",
            "custom1", "utm_term",
        ),
        "external_id": (
            "external_id", "externalid", "gclid", "wbraid", "gbraid", "dclid", "fbclid", "ttclid", "msclkid", "twclid",
            "li_fat_id", "rdt_cid", "sccid", "epik", "yclid", "ymclid", "obclid", "dicbo", "tblci", "irclickid",
            "cjevent", "awc",
        ),
        "transaction_id": (
            "transaction_id", "txid", "tid", "order_id", "orderid", "oid", "invoice_id", "invoiceid", "conversion_id",
            "lead_id", "action_id", "event_id", "postback_id",
        ),
        "payout": (
            "payout", "revenue", "amount", "sum", "value", "price", "profit", "commission", "payment", "money",
            "income", "cash", "sale_amount",
        ),
        "status": (
            "status", "conv_status", "cnv_status", "conversion_status", "goal", "stage", "action", "type", "event",
            "et",
        ),
        "currency": ("currency", "cur", "cnv_currency", "offer_currency", "payout_currency"),
        "cost": ("cost", "cpc", "bid", "bid_price", "click_price", "t202b"),
        "placement": (
            "zoneid", "zone_id", "placement", "site_id", "siteid", "publisher_id", "app_name", "bundle", "sub_id_2",
        ),
        "source": (
            "utm_source", "mtm_source", "pk_source", "piwik_source", "source", "~channel", "ref", "via", "partner",
            "aff",
        ),
        "medium": ("utm_medium", "mtm_medium", "pk_medium", "piwik_medium", "medium"),
        "campaign": (
            "utm_campaign", "mtm_campaign", "mtm_cpn", "pk_campaign", "pk_cpn", "piwik_campaign", "campaign",
            "campaign_name", "~campaign",
        ),
        "term": (
            "utm_term", "mtm_keyword", "mtm_kwd", "pk_keyword", "pk_kwd", "piwik_kwd", "keyword", "term", "t202kw",
        ),
        "content": ("utm_content", "mtm_content", "pk_content", "content", "creative_id", "ad_id"),
        "source_campaign_id": ("utm_id", "mtm_cid", "pk_cid", "ad_campaign_id", "gad_campaignid", "campaign_id"),
        "client_time": (
            "client_time", "event_time", "timestamp", "ts", "time", "occurred_at", "created_at", "originaltimestamp",
            "original_timestamp", "sentat", "sent_at", "dtm",
        ),
        "referrer": ("document_referrer", "referrer", "referer", "dr", "urlref", "refr"),
    }
)  # fmt: skip
"""By canonical field, in lower case."""

IDENTITIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "login_id": (
            "login_id", "loginid", "customer_id", "customerid", "external_user_id", "externaluserid", "user_id",
            "userid", "account_id", "accountid", "member_id", "memberid", "crm_id", "uid",
        ),
        "email": (
            "email", "em", "e-mail", "email_address", "emailaddress", "user_email", "customer_email", "mail",
            "email_sha256", "sha256_email", "sha256_email_address", "hashed_email", "email_hash", "hem",
        ),
        "visitor_id": ("visitor_id", "visitorid", "trellis_visitor_id", "_tl_v"),
    }
)  # fmt: skip
"""What senders call the people behind an event, in lower case. Beside ``DEFAULT``: no column is made of them."""

FREE_SUB_IDS = frozenset({"sub1", "subid1", "sub_id1", "aff_sub", "s1", "s2", "p1", "data1", "custom1", "cid"})
"""A click id to one sender and any other thing to the next."""
