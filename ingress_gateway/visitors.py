"""The visitor of a request: the first-party cookie, or a daily hash where cookies are off."""

import re

from ingress_gateway.arrival import COOKIE, USER_AGENT, Arrival
from ingress_gateway.ids import VisitorIds

COOKIE_NAME = "_tl_v"
_COOKIE = re.compile(rf"(?:^|;\s*){COOKIE_NAME}=(usr_[0-9]{{10,20}})(?:;|$)")
# 13 months: the longest that data protection authorities accept.
_MAX_AGE_SECONDS = 390 * 86400


class Visitors:
    """Tells visitors apart."""

    def __init__(self, ids: VisitorIds) -> None:
        self._ids = ids

    def of_browser(self, arrival: Arrival, organization_id: str) -> tuple[str, str]:
        """Return (visitor id, Set-Cookie value or ""). A browser that asks not to be tracked gets no cookie."""
        known = self.known(arrival)
        if known:
            return known, ""
        if arrival.headers.get("Sec-GPC") == "1" or arrival.headers.get("DNT") == "1":
            return self.of_server(arrival, organization_id), ""
        visitor_id = self._ids.new()
        secure = "; Secure" if arrival.scheme() == "https" else ""
        return (
            visitor_id,
            f"{COOKIE_NAME}={visitor_id}; Max-Age={_MAX_AGE_SECONDS}; Path=/{secure}; HttpOnly; SameSite=Lax",
        )

    def known(self, arrival: Arrival) -> str:
        """Return the id in the cookie, or the empty text."""
        cookie = arrival.headers.get(COOKIE)
        found = _COOKIE.search(cookie) if cookie else None
        return found[1] if found else ""

    def of_server(self, arrival: Arrival, organization_id: str) -> str:
        """Return the daily hash for a sender without cookies."""
        agent = arrival.headers.get(USER_AGENT, "").encode("utf-8", "surrogateescape")
        return self._ids.hashed(organization_id, arrival.ip, agent)
