"""Which reading a derived row is: the rules and the data that made it."""

from collections.abc import Mapping
from types import MappingProxyType

ENRICHMENT_VERSION = 2
"""Rises with any change of rules or data that can change a derived value. Every derived row carries it."""

CHANGES: Mapping[int, str] = MappingProxyType(
    {
        1: "User agents, bots, networks, channels, parameters, money, times, conversions, languages and bodies.",
        2: "An order's own name goes before `transaction_id` and `tid`, which name the click to some networks.",
    }
)
"""What each version changed."""

DATA: Mapping[str, str] = MappingProxyType({"crawler-user-agents": "1.67.0", "ua-parser-builtins": "202610"})
"""The releases of the lists that this version reads with. A newer release is a newer version."""
