"""User agents of people's browsers, written down from how the browsers announce themselves, and what they are."""

_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
_IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {_WEBKIT}"

PEOPLE: list[tuple[str, str, str, str]] = [
    # user agent, browser, system, device type
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_BLINK} Chrome/126.0.0.0 Safari/537.36",
        "Chrome",
        "Windows",
        "desktop",
    ),
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_BLINK} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
        "Edge",
        "Windows",
        "desktop",
    ),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; SLCC2; Tablet PC 2.0; rv:11.0) like Gecko",
        "IE",
        "Windows",
        "desktop",
    ),
    (
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_WEBKIT} Version/17.4 Safari/605.1.15",
        "Safari",
        "Mac OS X",
        "desktop",
    ),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0", "Firefox", "Ubuntu", "desktop"),
    (f"Mozilla/5.0 (X11; Linux x86_64) {_BLINK} Chrome/126.0.0.0 Safari/537.36", "Chrome", "Linux", "desktop"),
    (
        f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_BLINK} Chrome/126.0.0.0 Safari/537.36",
        "Chrome",
        "Chrome OS",
        "desktop",
    ),
    ("Mozilla/5.0 (X11; FreeBSD amd64; rv:126.0) Gecko/20100101 Firefox/126.0", "Firefox", "FreeBSD", "desktop"),
    (f"{_IPHONE} Version/17.4 Mobile/15E148 Safari/604.1", "Mobile Safari", "iOS", "mobile"),
    (f"{_IPHONE} CriOS/126.0.6478.35 Mobile/15E148 Safari/604.1", "Chrome Mobile iOS", "iOS", "mobile"),
    (f"{_IPHONE} Mobile/15E148 Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_4; en_US)", "Instagram", "iOS", "mobile"),
    (f"{_IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/466.0.0.40.104;FBDV/iPhone14,5]", "Facebook", "iOS", "mobile"),
    (
        f"Mozilla/5.0 (iPad; CPU OS 16_3 like Mac OS X) {_WEBKIT} Version/16.3 Mobile/15E148 Safari/604.1",
        "Mobile Safari",
        "iOS",
        "tablet",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {_BLINK} Chrome/126.0.0.0 Mobile Safari/537.36",
        "Chrome Mobile",
        "Android",
        "mobile",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 10; K) {_BLINK} Chrome/126.0.0.0 Mobile Safari/537.36",
        "Chrome Mobile",
        "Android",
        "mobile",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 9; CUBOT X19) {_BLINK} Chrome/99.0.0.0 Mobile Safari/537.36",
        "Chrome Mobile",
        "Android",
        "mobile",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-X700) {_BLINK} Chrome/126.0.0.0 Safari/537.36",
        "Chrome",
        "Android",
        "tablet",
    ),
    ("Mozilla/5.0 (Android 13; Tablet; rv:126.0) Gecko/126.0 Firefox/126.0", "Firefox Mobile", "Android", "tablet"),
    (
        f"Mozilla/5.0 (Linux; Android 9; KFMAWI) {_BLINK} Silk/112.3 like Chrome/112.0 Safari/537.36",
        "Amazon Silk",
        "Android",
        "tablet",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 9; AFTS) {_BLINK} Silk/112.3 like Chrome/112.0 Safari/537.36",
        "Amazon Silk",
        "Android",
        "tv",
    ),
    (f"Mozilla/5.0 (Web0S; Linux/SmartTV) {_BLINK} Chrome/94.0.4606.128 Safari/537.36", "Chrome", "Web0S", "tv"),
    (f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {_BLINK} Version/6.0 TV Safari/537.36", "Safari", "Tizen", "tv"),
    (f"Mozilla/5.0 (PlayStation; PlayStation 5/6.00) {_WEBKIT} Version/15.4 Safari/605.1.15", "Safari", "", "tv"),
    ("Mozilla/5.0 (PlayStation Vita 3.74) AppleWebKit/537.73 (KHTML, like Gecko) Silk/3.2", "", "", "mobile"),
    (
        "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119 Version/11.10",
        "Opera Mini",
        "",
        "mobile",
    ),
    (
        "Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
        "Firefox Mobile",
        "KaiOS",
        "mobile",
    ),
]
"""Empty text for a browser or system: whatever it is."""
