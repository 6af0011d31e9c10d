"""What ``trellis up`` runs: every process with its settings, as data."""

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from svc_runtime.settings import MeshSettings
from trellisctl.embedded.postgres import Database, EmbeddedPostgres
from trellisctl.embedded.valkey import EmbeddedValkey
from trellisctl.installation import Installation
from trellisctl.up.child import ChildSpec
from trellisctl.up.data_directory import DataDirectory, Secrets
from trellisctl.up.ports import Ports
from trellisctl.up.probes import grpc_health, http_ready, postgres_provided

DEFAULT_DATA_DIR = Path(".trellis")
DEFAULT_HTTP_HOST = "127.0.0.1"
DEFAULT_HTTP_PORT = 8080
POSTGRES = "postgresql"
VALKEY = "valkey"
GATEWAY_STAGE, ANALYTICS_STAGE, VALKEY_STAGE, ATTRIBUTION_STAGE, AUTH_STAGE, CAPTURE_STAGE, POSTGRES_STAGE = range(7)


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    data_dir: Path
    http_host: str
    http_port: int
    workers: int
    grpc_port_base: int | None
    is_demo: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run consists of."""

    children: Sequence[ChildSpec]
    """In the order in which people see them."""
    installation: Installation
    """How commands reach it."""


def make_plan(
    options: Options, directory: DataDirectory, secrets: Secrets, ports: Ports, environment: Mapping[str, str]
) -> Plan:
    """Return what to run.

    ``environment`` reaches every process; what this sets wins over it, except the stores' DSNs: with one of those the
    user's own store takes the embedded one's place.
    """
    planner = _Planner(options, directory, secrets, ports, environment)
    return Plan(planner.children(), planner.installation())


class _Planner:
    def __init__(
        self,
        options: Options,
        directory: DataDirectory,
        secrets: Secrets,
        ports: Ports,
        environment: Mapping[str, str],
    ) -> None:
        self._options = options
        self._directory = directory
        self._secrets = secrets
        self._ports = ports
        self._inherited = environment
        self._mesh = MeshSettings(mesh_secret=SecretStr(secrets.mesh_secret))
        self._targets = {
            name: f"127.0.0.1:{getattr(ports, name)}" for name in ("auth", "attribution", "capture", "analytics")
        }
        self._warden = Database("warden", secrets.warden_password)
        self._attribution = Database("attribution", secrets.attribution_password)

    def children(self) -> list[ChildSpec]:
        given = self._inherited
        postgres = None
        if not (given.get("AUTH_POSTGRES_DSN") and given.get("ATTRIBUTION_POSTGRES_DSN")):
            postgres = EmbeddedPostgres(
                self._directory.postgres,
                password=self._secrets.postgres_password,
                databases=[self._warden, self._attribution],
            )
        valkey = None if given.get("ANALYTICS_REDIS_URL") else EmbeddedValkey(self._directory.valkey)
        return [
            *([self._postgres(postgres)] if postgres else []),
            *([self._valkey(valkey)] if valkey else []),
            self._auth(postgres),
            self._attribution_svc(postgres),
            self._capture(),
            self._analytics(valkey),
            *(self._gateway(index) for index in range(self._options.workers)),
        ]

    def installation(self) -> Installation:
        return Installation(
            mesh_secret=self._secrets.mesh_secret,
            auth_target=self._targets["auth"],
            attribution_target=self._targets["attribution"],
            capture_target=self._targets["capture"],
            analytics_target=self._targets["analytics"],
            http_url=self._url,
        )

    @property
    def _url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._options.http_host, self._options.http_host)  # noqa: S104 - a comparison
        return f"http://{f'[{host}]' if ':' in host else host}:{self._ports.http}"

    def _postgres(self, postgres: EmbeddedPostgres) -> ChildSpec:
        return ChildSpec(
            name=POSTGRES,
            command=postgres.command,
            environment=self._environment({}),
            probe=postgres_provided(postgres),
            drain_stage=POSTGRES_STAGE,
            prepare=postgres.prepare,
            os_ids=lambda: postgres.os_ids,
            # Fast shutdown: connections are ended, nothing needs recovery. Immediate shutdown: recovers on the start.
            stop_signal=signal.SIGINT,
            kill_signal=signal.SIGQUIT,
        )

    def _valkey(self, valkey: EmbeddedValkey) -> ChildSpec:
        return ChildSpec(
            name=VALKEY,
            command=valkey.command,
            environment=self._environment({}),
            probe=valkey.problem,
            drain_stage=VALKEY_STAGE,
            prepare=valkey.prepare,
        )

    def _auth(self, postgres: EmbeddedPostgres | None) -> ChildSpec:
        own = {
            "AUTH_LISTEN": self._targets["auth"],
            "AUTH_POSTGRES_DSN": self._dsn("AUTH_POSTGRES_DSN", postgres, self._warden),
            "AUTH_KEY_PEPPER": self._secrets.key_pepper,
            "AUTH_ALLOW_FIXED_KEYS": "true" if self._options.is_demo else "false",
        }
        return self._service("auth_svc", "auth", own, AUTH_STAGE, needs=(POSTGRES,) if postgres else ())

    def _attribution_svc(self, postgres: EmbeddedPostgres | None) -> ChildSpec:
        own = {
            "ATTRIBUTION_LISTEN": self._targets["attribution"],
            "ATTRIBUTION_POSTGRES_DSN": self._dsn("ATTRIBUTION_POSTGRES_DSN", postgres, self._attribution),
            "ATTRIBUTION_AUTH_TARGET": self._targets["auth"],
            "ATTRIBUTION_CAPTURE_TARGET": self._targets["capture"],
            "ATTRIBUTION_ANALYTICS_TARGET": self._targets["analytics"],
        }
        return self._service(
            "attribution_svc", "attribution", own, ATTRIBUTION_STAGE, needs=(POSTGRES,) if postgres else ()
        )

    def _capture(self) -> ChildSpec:
        own = {
            "CAPTURE_LISTEN": self._targets["capture"],
            "CAPTURE_CLICKHOUSE_DSN": self._clickhouse("CAPTURE_CLICKHOUSE_DSN", self._directory.capture),
            "CAPTURE_AUTH_TARGET": self._targets["auth"],
            # Not the host's name, which a laptop changes with its network: events are numbered by it.
            "CAPTURE_REPLICA": "up",
        }
        return self._service("capture_svc", "capture", own, CAPTURE_STAGE)

    def _analytics(self, valkey: EmbeddedValkey | None) -> ChildSpec:
        own = {
            "ANALYTICS_LISTEN": self._targets["analytics"],
            "ANALYTICS_CLICKHOUSE_DSN": self._clickhouse("ANALYTICS_CLICKHOUSE_DSN", self._directory.analytics),
            "ANALYTICS_CAPTURE_TARGET": self._targets["capture"],
            "ANALYTICS_AUTH_TARGET": self._targets["auth"],
            "ANALYTICS_REDIS_URL": self._inherited.get("ANALYTICS_REDIS_URL") or (valkey.url if valkey else ""),
        }
        return self._service("analytics_svc", "analytics", own, ANALYTICS_STAGE, needs=(VALKEY,) if valkey else ())

    def _gateway(self, index: int) -> ChildSpec:
        own = {
            "GATEWAY_HTTP_HOST": self._options.http_host,
            "GATEWAY_HTTP_PORT": str(self._ports.http),
            "GATEWAY_DATA_DIR": str(self._directory.gateway),
            "GATEWAY_WORKER": str(index),
            "GATEWAY_WORKERS": str(self._options.workers),
            "GATEWAY_KEY_PEPPER": self._secrets.key_pepper,
            "GATEWAY_AUTH_TARGET": self._targets["auth"],
            "GATEWAY_ATTRIBUTION_TARGET": self._targets["attribution"],
            "GATEWAY_CAPTURE_TARGET": self._targets["capture"],
            "GATEWAY_ANALYTICS_TARGET": self._targets["analytics"],
        }
        return ChildSpec(
            name=f"gateway-{index}",
            command=lambda: _module("ingress_gateway"),
            environment=self._environment(own),
            probe=http_ready(f"{self._url}/readyz"),
            drain_stage=GATEWAY_STAGE,
        )

    def _service(
        self, module: str, target: str, own: Mapping[str, str], stage: int, *, needs: tuple[str, ...] = ()
    ) -> ChildSpec:
        return ChildSpec(
            name=module,
            command=lambda: _module(module),
            environment=self._environment({**own, **self._metrics_port(target)}),
            probe=grpc_health(self._mesh, self._targets[target]),
            drain_stage=stage,
            needs=needs,
        )

    def _metrics_port(self, target: str) -> dict[str, str]:
        # One port per service: with TRELLIS_METRICS_PORT=9464 auth has 9464, attribution 9465, and so on.
        first = self._inherited.get("TRELLIS_METRICS_PORT", "")
        return {"TRELLIS_METRICS_PORT": str(int(first) + list(self._targets).index(target))} if first.isdigit() else {}

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        return {**self._inherited, "TRELLIS_MESH_SECRET": self._secrets.mesh_secret, **own}

    def _dsn(self, variable: str, postgres: EmbeddedPostgres | None, database: Database) -> str:
        return self._inherited.get(variable) or (postgres.dsn(database) if postgres else "")

    def _clickhouse(self, variable: str, directory: Path) -> str:
        return self._inherited.get(variable) or f"chdb://{directory}"


def _module(name: str) -> tuple[str, ...]:
    # -P: nothing in the working directory is taken for one of our modules.
    return (sys.executable, "-P", "-m", name)
