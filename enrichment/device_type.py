"""Derives the kind of device from a user agent. The first rule that holds decides, from the top."""

from collections.abc import Callable
from enum import StrEnum

import re2


class DeviceType(StrEnum):
    """What people hold in their hands, or sit in front of."""

    MOBILE = "mobile"
    TABLET = "tablet"
    DESKTOP = "desktop"
    TV = "tv"
    BOT = "bot"
    OTHER = "other"


def _any(*words: str) -> Callable[[str], object]:
    """Compile a search for expressions, without case; RE2, for Python's own takes ten times as long over so many."""
    search: Callable[[str], object] = re2.compile("(?i)" + "|".join(words)).search
    return search


# Handhelds first: a portable console is none of the large ones.
_is_portable = _any("PlayStation (?:Vita|Portable)", "Nintendo (?:3DS|DS)", r"\bPSP\b")
_is_tv = _any(
    "smart-?tv", "hbbtv", "google ?tv", "android ?tv", "apple ?tv", "tvos", r"\broku", "web0s", "netcast", "netrange",
    "bravia", "viera", "crkey", r"\baft[a-z]{1,4}\b", r"\bdtv\b", r"tizen.*\btv\b", r"\btv safari", "smart hub",
    "ce-html", "opera tv", "playstation", "xbox", "nintendo (?:wii|switch)", "mibox", "mitv", "chromecast", "philipstv",
    "vidaa",
)  # fmt: skip
_is_tablet = _any(
    r"\biPad", r"\btablet(?:;|\)|/|$| [^p])", "playbook", "kindle", "silk/", r"\bkf[a-z]{2,5}\b", r"\bSM-[TX]\d",
    r"nexus (?:7|9|10)\b",
)  # fmt: skip
_is_mobile = _any(
    "iphone", "ipod", r"\bmobile\b", "windows phone", "iemobile", "blackberry", r"\bbb10\b", "kaios",
    "opera m(?:ini|obi)", "symbian", "series ?60", "midp", "j2me", r"\bnokia", "webos/", "palm", "fxos",
)  # fmt: skip
_is_desktop_system = _any(
    "^(?:windows|mac os|macos|linux|ubuntu|debian|fedora|red hat|centos|suse|arch|gentoo|mint|slackware|solaris|sunos)",
    "^(?:chrome ?os|chromium os|haiku|beos|os/2|fuchsia)", "bsd$",
)  # fmt: skip
_MOBILE_SYSTEMS = frozenset(
    {"iOS", "Windows Phone", "Windows Mobile", "BlackBerry OS", "KaiOS", "Firefox OS", "Symbian OS"}
)


def device_type_of(user_agent: str, *, os: str, is_bot: bool) -> DeviceType:
    """Return the kind of device; ``os`` is the family of its system by ua-parser."""
    if is_bot:
        return DeviceType.BOT
    if _is_portable(user_agent):
        return DeviceType.MOBILE
    if _is_tv(user_agent):
        return DeviceType.TV
    if _is_tablet(user_agent):
        return DeviceType.TABLET
    if _is_mobile(user_agent) or os in _MOBILE_SYSTEMS:
        return DeviceType.MOBILE
    if os == "Android":  # without the word Mobile: the convention of Android browsers for large screens
        return DeviceType.TABLET
    if _is_desktop_system(os):
        return DeviceType.DESKTOP
    return DeviceType.OTHER
