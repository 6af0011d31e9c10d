"""What the projection enriches with: remembered user agents, and the operator's GeoIP files."""

from collections.abc import Sequence
from pathlib import Path

from enrichment.geo import Geo, Place
from enrichment.user_agent import UserAgent, UserAgents
from svc_runtime.logs import get_logger

_log = get_logger(__name__)


class Enricher:
    """Reads user agents and addresses. Safe from several threads, but for ``refresh``, which belongs to one."""

    def __init__(self, geoip_paths: Sequence[Path] = ()) -> None:
        self._agents = UserAgents()
        self._geo = Geo(geoip_paths)
        self.refresh()

    def user_agent(self, header: bytes) -> UserAgent:
        """Read a User-Agent header."""
        return self._agents.read(header)

    def place(self, ip: str) -> Place:
        """Say where an address is."""
        return self._geo.look_up(ip)

    def refresh(self) -> None:
        """Take GeoIP files that are new or changed. Cheap where none is; blocks."""
        for error in self._geo.refresh():
            _log.warning("a GeoIP file cannot be read", error=error)

    @property
    def edition(self) -> str:
        """Which GeoIP files are read."""
        return self._geo.edition
