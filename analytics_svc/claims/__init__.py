"""Campaigns' claims on traffic that they did not route: previewed, applied to history, undone."""
