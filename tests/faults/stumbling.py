"""analytics_svc with a rule that one user agent breaks: ``python -m tests.faults.stumbling``."""

import uvloop

from analytics_svc import server
from analytics_svc.projection.enricher import Enricher
from enrichment.user_agent import UserAgent

POISON = "poison/1.0"
_read = Enricher.user_agent


def _stumble(self: Enricher, header: bytes) -> UserAgent:
    if header == POISON.encode():
        raise RecursionError(POISON)
    return _read(self, header)


Enricher.user_agent = _stumble  # type: ignore[method-assign]  # the very defect that is wanted

if __name__ == "__main__":
    uvloop.run(server.main())
