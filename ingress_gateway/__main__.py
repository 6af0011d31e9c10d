"""Run one gateway worker: ``python -m ingress_gateway``."""

import uvloop

from ingress_gateway.server import main

if __name__ == "__main__":
    uvloop.run(main())
