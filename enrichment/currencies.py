"""ISO 4217, and the symbols that people write."""

from collections.abc import Mapping
from types import MappingProxyType

_TWO = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN
NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC
SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"

MINOR_DIGITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(_TWO.split(), 2),
        **dict.fromkeys(_NONE.split(), 0),
        **dict.fromkeys(_THREE.split(), 3),
        **dict.fromkeys(_FOUR.split(), 4),
    }
)
"""By code: how many decimals the minor unit has."""

SYMBOLS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "$": ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "ARS", "CLP", "COP", "TWD"),
        "US$": ("USD",),
        "C$": ("CAD",),
        "CA$": ("CAD",),
        "A$": ("AUD",),
        "AU$": ("AUD",),
        "NZ$": ("NZD",),
        "S$": ("SGD",),
        "HK$": ("HKD",),
        "R$": ("BRL",),
        "€": ("EUR",),
        "£": ("GBP", "EGP", "GIP"),
        "¥": ("JPY", "CNY"),
        "₽": ("RUB",),
        "₹": ("INR",),
        "₴": ("UAH",),
        "₺": ("TRY",),
        "₩": ("KRW",),
        "₫": ("VND",),
        "₸": ("KZT",),
        "₪": ("ILS",),
        "₦": ("NGN",),
        "₱": ("PHP",),
        "฿": ("THB",),
        "ZŁ": ("PLN",),
        "KČ": ("CZK",),
        "RUR": ("RUB",),
    }
)
"""By symbol in upper case: the codes that it may mean, the likeliest first."""
