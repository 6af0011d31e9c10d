"""Reads the User-Agent header: browser, system, device, and which kind of client it is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from ua_parser import Domain, PartialResult, RegexResolver, load_lazy_builtins

from enrichment.bots import Bots
from enrichment.device_type import DeviceType, device_type_of

LONGEST_BYTES = 1024
"""What comes after is not read. Bounds the time, and what the cache holds."""


class _Version(Protocol):
    @property
    def major(self) -> str | None: ...
    @property
    def minor(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class UserAgent:
    """What a User-Agent header says. Empty text: it does not say."""

    browser: str
    browser_version: str
    """``major`` or ``major.minor``."""
    os: str
    os_version: str
    device: str
    """Brand and model, such as ``Apple iPhone``."""
    device_type: DeviceType
    bot_reasons: tuple[str, ...]
    """Why it is no person's browser (``bots``); empty for a person's."""


class UserAgents:
    """Reads user agents, and remembers those it saw last. Safe from several threads."""

    def __init__(self, *, cache_size: int = 20_000) -> None:
        """``cache_size`` is in headers: at most about 2 KB each."""
        if RegexResolver is None:
            raise RuntimeError("ua-parser has no Rust regexes: install ua-parser[regex]")
        self._resolve = RegexResolver(load_lazy_builtins())
        self._bots = Bots()
        self._remembered: Callable[[bytes], UserAgent] = lru_cache(cache_size)(self._read)

    def read(self, header: bytes) -> UserAgent:
        """Read a header's value; missing and empty are the same."""
        return self._remembered(header[:LONGEST_BYTES])

    def _read(self, header: bytes) -> UserAgent:
        text = header.decode("utf-8", "replace").strip()
        found = self._resolve(text, Domain.ALL)
        family = found.device.family if found.device else ""
        reasons = self._bots.reasons(text, is_spider=family == "Spider")
        os = found.os.family if found.os else ""
        return UserAgent(
            browser=found.user_agent.family if found.user_agent else "",
            browser_version=_version(found.user_agent),
            os=os,
            os_version=_version(found.os),
            device="" if family == "Spider" else _device(found),
            device_type=device_type_of(text, os=os, is_bot=bool(text and reasons)),
            bot_reasons=reasons,
        )


def _version(found: _Version | None) -> str:
    if found is None or not found.major:
        return ""
    return f"{found.major}.{found.minor}" if found.minor else found.major


def _device(found: PartialResult) -> str:
    device = found.device
    if device is None:
        return ""
    model = device.model or device.family
    is_named = not device.brand or device.brand.startswith("Generic") or model.startswith(device.brand)
    return model if is_named else f"{device.brand} {model}"
