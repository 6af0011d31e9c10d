"""Warden: organisations, tracking domains, keys, roles and the audit log."""
