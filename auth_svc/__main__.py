"""Start auth_svc: ``python -m auth_svc``."""

import uvloop

from auth_svc.server import main

if __name__ == "__main__":
    uvloop.run(main())
