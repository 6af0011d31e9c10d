"""attribution_svc: campaigns and what gateways route by. Rules, conversions and attribution models are to join them."""
