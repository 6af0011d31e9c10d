"""The routing table: every path of the gateway, in one place. ``/openapi.json`` is checked against it."""

from ingress_gateway.app import HttpRoute
from ingress_gateway.routes import events, health, link, pixel

_ANY: tuple[str, ...] = ()


def routes() -> list[HttpRoute]:
    """Return the table."""
    readiness = health.Readiness()
    return [
        HttpRoute(_ANY, "/in", link.click, is_capture=True),
        HttpRoute(_ANY, "/in/{slug}", link.click, is_capture=True),
        HttpRoute(_ANY, "/pixel", pixel.pixel, is_capture=True),
        HttpRoute(_ANY, "/pixel.gif", pixel.pixel, is_capture=True),
        HttpRoute(("GET", "HEAD", "POST"), "/track", pixel.track, is_capture=True),
        HttpRoute(("POST",), "/events", events.events, is_capture=True),
        HttpRoute(("POST",), "/batch", events.batch, is_capture=True),
        HttpRoute(("GET", "HEAD", "POST"), "/postback", events.postback, is_capture=True),
        HttpRoute(("GET", "HEAD"), "/healthz", health.healthz),
        HttpRoute(("GET", "HEAD"), "/readyz", readiness.readyz),
    ]
