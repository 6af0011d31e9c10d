"""Which events are conversions, by the word for what happened and by what they carry."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

LONGEST_BYTES = 128


class Happening(StrEnum):
    """What the word for an event says."""

    STEP = "step"
    """A step on the way, never a conversion whatever it carries: a click, a view, a cart."""
    CONVERSION = "conversion"
    OTHER = ""
    """It does not say: a conversion if it carries money or an order."""


# Letters and digits alone, in lower case: `Order Completed`, `order_completed` and `orderCompleted` are one word.
_STEPS = """
click linkclick outboundclick tap pageview page view screen screenview impression imp adimpression adclick open
emailopen visit session sessionstart landing prefetch scroll scrolldepth heartbeat ping engagement userengagement
timing hover focus videostart videoprogress videocomplete videoplay play pause formstart formview search
viewsearchresults viewcontent viewitem viewitemlist selectitem viewproduct productviewed productclicked
productlistviewed viewpromotion selectpromotion viewcart cartviewed addtocart productadded removefromcart
productremoved addtowishlist productaddedtowishlist begincheckout initiatecheckout checkoutstarted checkoutstepviewed
checkoutstepcompleted addpaymentinfo paymentinfoentered addshippinginfo couponentered couponapplied identify group
alias login signin logout signout error exception refund refunded orderrefunded chargeback ordercancelled
ordercanceled unsubscribe uninstall
"""
_CONVERSIONS = """
purchase sale sell order ordercompleted completeorder orderplaced placeorder neworder checkoutcompleted
completecheckout completepayment transaction payment paid buy bought booking booked reservation conversion convert
converted goal lead generatelead newlead qualifyleads qualifiedlead submitlead signup signedup registration register
registered reg completeregistration accountcreated submitapplication install appinstall installed firstopen
applicationinstalled deposit firstdeposit firsttimedeposit ftd dep redeposit subscribe subscribed subscription
newsubscription subscriptionstarted starttrial trialstarted rebill renewal donate donation contact schedule submitform
formsubmit formsubmitted
"""
WORDS: Mapping[str, Happening] = MappingProxyType(
    {
        **dict.fromkeys(_STEPS.split(), Happening.STEP),
        **dict.fromkeys(_CONVERSIONS.split(), Happening.CONVERSION),
    }
)
"""By word, folded as `happening_of` does."""

ORDER_NAMES = frozenset({b"order_id", b"orderid", b"invoice_id", b"invoiceid", b"transaction_id", b"txid"})
"""Parameters, in lower case, that make a conversion of an event that is no step: who sends one speaks of an order."""
PLAIN_ORDER_NAMES = frozenset({b"order_id", b"orderid", b"oid", b"invoice_id", b"invoiceid", b"txid"})
"""Parameters, in lower case, that name an order to everybody."""
CLICK_OR_ORDER_NAMES = frozenset({b"transaction_id", b"tid"})
"""Parameters, in lower case, that name the order to most, and the click to TUNE, Everflow and ClickBank."""
KEY_NAMES = frozenset({b"event_id", b"action_id"})
"""Parameters, in lower case, that name an order in a postback and the event itself elsewhere."""
STATUS_NAMES = frozenset({b"status", b"conv_status", b"cnv_status", b"conversion_status"})
"""Parameters, in lower case, that say what became of a conversion. Postbacks say it under more (``aliases``)."""


REFUSED_MARKS = frozenset({"refused_sender", "refused_signature"})
"""Of events whose sender the gateway knew and did not believe: no conversions, whatever they say."""


def happening_of(event_type: bytes) -> Happening:
    """Read the word for an event, without case, blanks and punctuation."""
    text = event_type[:LONGEST_BYTES].decode("utf-8", "replace").lower()
    return WORDS.get("".join(filter(str.isalnum, text)), Happening.OTHER)
