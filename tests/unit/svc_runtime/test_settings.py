"""Settings tell all their problems at once, and none of their secrets."""

import pytest

from ingress_gateway.settings import GatewaySettings
from svc_runtime.settings import TelemetrySettings, load_or_exit


def test_every_problem_is_told_at_once(monkeypatch, capsys) -> None:
    monkeypatch.setenv("TRELLIS_MESH_SECRET", "too short")
    monkeypatch.setenv("TRELLIS_LOG_LEVEL", "loud")
    monkeypatch.setenv("GATEWAY_DATA_DIR", "somewhere")
    monkeypatch.setenv("GATEWAY_KEY_PEPPER", "pepper")
    monkeypatch.setenv("GATEWAY_HTTP_PORT", "99999")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "7")
    with pytest.raises(SystemExit) as exit_:
        load_or_exit(GatewaySettings)
    told = capsys.readouterr().err
    assert exit_.value.code == 2
    for name in (
        "TRELLIS_MESH_SECRET",
        "TRELLIS_LOG_LEVEL",
        "GATEWAY_KEY_PEPPER",
        "GATEWAY_HTTP_PORT",
        "OTEL_TRACES_SAMPLER_ARG",
    ):
        assert name in told
    assert "too short" not in told
    assert "pepper\n" not in told.lower().replace("gateway_key_pepper", "")


def test_certificates_are_needed_together(monkeypatch, capsys) -> None:
    monkeypatch.setenv("TRELLIS_MESH_SECRET", "s" * 32)
    monkeypatch.setenv("TRELLIS_TLS_CA_FILE", "ca.pem")
    monkeypatch.setenv("GATEWAY_DATA_DIR", "somewhere")
    monkeypatch.setenv("GATEWAY_KEY_PEPPER", "p" * 32)
    with pytest.raises(SystemExit):
        load_or_exit(GatewaySettings)
    assert "needed together" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio"),
    [
        ("parentbased_always_on", 0.01, 1.0),
        ("always_off", 0.5, 0.0),
        ("traceidratio", 0.25, 0.25),
        ("parentbased_traceidratio", 0.01, 0.01),
    ],
)
def test_the_standard_sampler_names_give_a_ratio(sampler: str, argument: float, ratio: float) -> None:
    settings = TelemetrySettings(traces_sampler=sampler, traces_sampler_arg=argument)
    assert settings.sampling_ratio == ratio


def test_spans_are_exported_only_where_an_endpoint_is_set() -> None:
    assert not TelemetrySettings().exports_traces
    assert TelemetrySettings(exporter_otlp_endpoint="http://127.0.0.1:4317").exports_traces
    assert not TelemetrySettings(exporter_otlp_endpoint="http://127.0.0.1:4317", sdk_disabled=True).exports_traces
