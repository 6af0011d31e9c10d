"""Settings from the environment: one frozen class per process, every problem shown at once.

``os.environ`` is read nowhere else.
"""

import sys
from pathlib import Path
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class MeshSettings(BaseSettings):
    """What every process of the mesh shares (``TRELLIS_…``)."""

    model_config = SettingsConfigDict(env_prefix="TRELLIS_", frozen=True, extra="ignore")

    mesh_secret: SecretStr = Field(min_length=32)
    """Signs the tokens by which services of this mesh know each other. At least 32 characters."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """Least severe level that is written."""
    log_format: str = Field(default="json", pattern="^(json|console)$")
    """``json`` for machines, ``console`` for people."""
    tls_ca_file: Path | None = None
    """Certificates that sign the peers' certificates. With it every gRPC channel is TLS."""
    tls_cert_file: Path | None = None
    """Our certificate: servers present it, and clients too (mutual TLS)."""
    tls_key_file: Path | None = None
    """Its private key."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Prometheus page of a service; none by default (the gateway serves ``/metrics`` itself)."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    """How long calls in flight may take to end after SIGTERM."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "MeshSettings":
        given = [self.tls_ca_file, self.tls_cert_file, self.tls_key_file]
        if any(given) and not all(given):
            raise ValueError("tls_ca_file, tls_cert_file and tls_key_file are needed together")
        return self


class TelemetrySettings(BaseSettings):
    """The standard OpenTelemetry variables that we look at ourselves; the SDK reads the others."""

    model_config = SettingsConfigDict(env_prefix="OTEL_", frozen=True, extra="ignore")

    sdk_disabled: bool = False
    """No telemetry at all."""
    exporter_otlp_endpoint: str = ""
    """Where traces and metrics go. Nothing is exported until it, or one of the next two, is set."""
    exporter_otlp_traces_endpoint: str = ""
    """Where traces go."""
    exporter_otlp_metrics_endpoint: str = ""
    """Where metrics go."""
    traces_sampler: str = "parentbased_traceidratio"
    """Standard name of the sampler."""
    traces_sampler_arg: float = Field(default=0.01, ge=0, le=1)
    """Share of traces that begin here and are sampled; 1 % by default."""

    @property
    def exports_traces(self) -> bool:
        """True when spans have somewhere to go."""
        return not self.sdk_disabled and bool(self.exporter_otlp_endpoint or self.exporter_otlp_traces_endpoint)

    @property
    def sampling_ratio(self) -> float:
        """Share of new traces to sample: what the sampler's name and argument come to."""
        name = self.traces_sampler.removeprefix("parentbased_")
        return {"always_on": 1.0, "always_off": 0.0}.get(name, self.traces_sampler_arg)


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings_class: type[SettingsT], problems: list[str]) -> SettingsT | None:
    """Read one settings class; append what is wrong to ``problems``, naming variables and never secret values."""
    try:
        return settings_class()
    except ValidationError as error:
        prefix = settings_class.model_config.get("env_prefix", "")
        for item in error.errors(include_input=False, include_url=False):
            name = prefix + "_".join(str(part) for part in item["loc"])
            problems.append(f"{name.upper()}: {item['msg']}")
        return None


def load_or_exit(own: type[SettingsT]) -> tuple[MeshSettings, TelemetrySettings, SettingsT]:
    """Read the settings of a process; on a problem print all of them and exit with 2."""
    problems: list[str] = []
    mesh, telemetry, mine = load(MeshSettings, problems), load(TelemetrySettings, problems), load(own, problems)
    if mesh is None or telemetry is None or mine is None:
        sys.stderr.write("settings:\n" + "".join(f"  {problem}\n" for problem in problems))
        raise SystemExit(2)
    return mesh, telemetry, mine
