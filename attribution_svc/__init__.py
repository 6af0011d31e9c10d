"""attribution_svc: campaigns and what gateways route by, conversions, webhooks, and attribution models."""
