"""The mirror's settings, as part of a service's."""

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.settings import CaptureSettings


@pytest.fixture(autouse=True)
def _dsn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTURE_CLICKHOUSE_DSN", "chdb:///nowhere")


def test_without_a_project_there_is_no_mirror() -> None:
    assert not CaptureSettings().bigquery.is_on


def test_the_environment_sets_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTURE_BIGQUERY_PROJECT", "acme-data")
    monkeypatch.setenv("CAPTURE_BIGQUERY_MAX_ROWS", "1000")
    monkeypatch.setenv("CAPTURE_BIGQUERY_API_ENDPOINT", "http://127.0.0.1:9050")
    found = CaptureSettings().bigquery
    assert found.is_on
    assert (found.max_rows, found.api_endpoint) == (1000, "http://127.0.0.1:9050")
    assert found.name == "bigquery:acme-data.trellis.events"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CAPTURE_BIGQUERY_MAX_ROWS", "0"),
        ("CAPTURE_BIGQUERY_DATASET", "a.b"),
        ("CAPTURE_BIGQUERY_API_ENDPOINT", "ftp://a"),
        ("CAPTURE_BIGQUERY_COMPRESSION", "zip"),
        ("CAPTURE_BIGQUERY_MAX_ROW", "1"),
    ],
)
def test_a_wrong_value_or_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("CAPTURE_BIGQUERY_PROJECT", "acme-data")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        CaptureSettings()


def test_an_endpoint_alone_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="api_endpoint without project"):
        BigQuerySettings(api_endpoint="http://127.0.0.1:9050")


def test_the_settings_are_frozen() -> None:
    assert issubclass(CaptureSettings, BaseSettings)
    with pytest.raises(ValidationError):
        BigQuerySettings().project = "other"  # type: ignore[misc]  # that is the point
