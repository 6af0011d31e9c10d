"""Start analytics_svc: ``python -m analytics_svc``."""

import uvloop

from analytics_svc.server import main

if __name__ == "__main__":
    uvloop.run(main())
