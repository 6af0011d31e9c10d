"""Start attribution_svc: ``python -m attribution_svc``."""

import uvloop

from attribution_svc.server import main

if __name__ == "__main__":
    uvloop.run(main())
