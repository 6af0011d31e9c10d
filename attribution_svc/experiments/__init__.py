"""What destinations and rules of a campaign brought, and whether that is chance."""
