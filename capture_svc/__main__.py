"""Start capture_svc: ``python -m capture_svc``."""

import uvloop

from capture_svc.server import main

if __name__ == "__main__":
    uvloop.run(main())
