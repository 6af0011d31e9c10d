"""Where ClickHouse is, read from a DSN."""

import pytest
from pydantic import ValidationError

from analytics_svc.settings import AnalyticsSettings
from svc_runtime import clickhouse
from svc_runtime.clickhouse import Dsn


def parse_dsn(text: str) -> Dsn:
    """Read a DSN as analytics_svc does."""
    return clickhouse.parse_dsn(text, default_database="analytics")


def test_an_embedded_engine_has_a_directory() -> None:
    dsn = parse_dsn("chdb:///var/lib/trellis/my%20data/")
    assert dsn == Dsn(is_embedded=True, database="analytics", path="/var/lib/trellis/my data", client=(), settings=())


@pytest.mark.parametrize(
    ("text", "database", "expected"),
    [
        ("clickhouse://ch", "analytics", {"interface": "http", "host": "ch", "port": 8123, "username": "default"}),
        ("clickhouses://ch/db", "db", {"interface": "https", "port": 8443, "password": ""}),
        ("clickhouse://u%40x:p%2Fw@ch:9/", "analytics", {"username": "u@x", "password": "p/w", "port": 9}),
        ("clickhouses://ch?ca_cert=/ca.pem", "analytics", {"ca_cert": "/ca.pem"}),
    ],
)
def test_a_server_has_its_address_and_credentials(text: str, database: str, expected: dict[str, object]) -> None:
    dsn = parse_dsn(text)
    assert dsn.database == database
    assert dict(dsn.client) | expected == dict(dsn.client)
    assert dsn.settings == ()


def test_other_options_are_clickhouse_settings() -> None:
    assert parse_dsn("clickhouse://ch?insert_quorum=2&verify=false").settings == (("insert_quorum", "2"),)


@pytest.mark.parametrize("text", ["", "chdb://relative", "chdb:", "clickhouse:///db", "http://ch", "postgresql://ch"])
def test_anything_else_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="://") as caught:
        parse_dsn(text)
    assert not text or f"'{text}'" not in str(caught.value)


def test_a_password_is_in_no_repr_and_in_no_complaint() -> None:
    assert "geheim" not in repr(parse_dsn("clickhouse://u:geheim@ch"))
    with pytest.raises(ValidationError) as caught:
        AnalyticsSettings(clickhouse_dsn="clickhouse//u:geheim@ch")  # type: ignore[arg-type]  # as from the environment
    assert "geheim" not in str(caught.value.errors(include_input=False, include_url=False))
