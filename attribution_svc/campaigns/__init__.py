"""Campaigns: what an organisation routes by, live and over history."""
