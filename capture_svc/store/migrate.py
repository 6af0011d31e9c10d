"""Applies the migrations of ``migrations/``."""

from importlib import resources

from svc_runtime import clickhouse_migrations
from svc_runtime.clickhouse import ClickHouse

MIGRATIONS = resources.files("capture_svc.store") / "migrations"
