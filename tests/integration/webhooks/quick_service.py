"""attribution_svc whose claims on deliveries end soon after it has died: ``python -m tests…webhooks.quick_service``."""

from datetime import timedelta

import uvloop

from attribution_svc.server import main
from attribution_svc.webhooks import dispatcher

if __name__ == "__main__":
    dispatcher.LEASE_MARGIN = timedelta(seconds=1)
    uvloop.run(main())
