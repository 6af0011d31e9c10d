from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.settings_catalogue import SERVICES, service_variables
from trellisctl.up.child import ChildSpec
from trellisctl.up.data_directory import DataDirectory, Secrets
from trellisctl.up.plan import Options, Plan, make_plan
from trellisctl.up.ports import Ports

SECRETS = Secrets("m" * 32, "p" * 32, "a" * 32, "w" * 32, "t" * 32)
PORTS = Ports(http=8080, auth=50051, attribution=50052, capture=50053, analytics=50054)


def plan(
    tmp_path: Path,
    environment: Mapping[str, str] | None = None,
    *,
    workers: int = 2,
    http_host: str = "127.0.0.1",
    is_demo: bool = True,
) -> Plan:
    options = Options(tmp_path, http_host, 8080, workers, 50050, is_demo)
    return make_plan(options, DataDirectory(tmp_path), SECRETS, PORTS, environment or {})


def by_name(found: Plan) -> dict[str, ChildSpec]:
    return {child.name: child for child in found.children}


def module_of(child: ChildSpec) -> str:
    return child.command()[-1]


def test_the_store_the_services_and_each_worker_run(tmp_path: Path) -> None:
    names = [child.name for child in plan(tmp_path, workers=3).children]
    assert names == [
        *("postgresql", "valkey", "auth_svc", "attribution_svc", "capture_svc", "analytics_svc"),
        *("gateway-0", "gateway-1", "gateway-2"),
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_that_is_passed_exists_and_every_required_one_is_passed(service: str, tmp_path: Path) -> None:
    known = service_variables(service)
    required = {name for name, is_required in known.items() if is_required}
    children = [
        child
        for child in plan(tmp_path).children
        if child.name not in {"postgresql", "valkey"} and module_of(child) == service
    ]
    assert children
    for child in children:
        assert set(child.environment) <= set(known)
        assert required <= set(child.environment)


def test_each_service_gets_its_own_secrets_alone(tmp_path: Path) -> None:
    children = by_name(plan(tmp_path))
    held = {name: " ".join(child.environment.values()) for name, child in children.items()}
    assert {name for name, text in held.items() if SECRETS.key_pepper in text} == {"auth_svc", "gateway-0", "gateway-1"}
    assert {name for name, text in held.items() if SECRETS.warden_password in text} == {"auth_svc"}
    assert {name for name, text in held.items() if SECRETS.attribution_password in text} == {"attribution_svc"}
    assert not any(SECRETS.postgres_password in text for text in held.values())


def test_secrets_are_never_on_a_command_line(tmp_path: Path) -> None:
    secrets = {SECRETS.mesh_secret, SECRETS.key_pepper, SECRETS.postgres_password, SECRETS.warden_password}
    for child in plan(tmp_path).children:
        assert not any(secret in part for secret in secrets for part in child.command())


def test_fixed_keys_are_for_the_demo_alone(tmp_path: Path) -> None:
    assert by_name(plan(tmp_path))["auth_svc"].environment["AUTH_ALLOW_FIXED_KEYS"] == "true"
    assert by_name(plan(tmp_path, is_demo=False))["auth_svc"].environment["AUTH_ALLOW_FIXED_KEYS"] == "false"


def test_workers_know_who_they_are(tmp_path: Path) -> None:
    children = by_name(plan(tmp_path))
    seen = [
        (children[name].environment["GATEWAY_WORKER"], children[name].environment["GATEWAY_WORKERS"])
        for name in ("gateway-0", "gateway-1")
    ]
    assert seen == [("0", "2"), ("1", "2")]


def test_the_gateways_stop_first_and_the_store_last(tmp_path: Path) -> None:
    stages = {name: child.drain_stage for name, child in by_name(plan(tmp_path)).items()}
    order = ["gateway-0", "analytics_svc", "valkey", "attribution_svc", "auth_svc", "capture_svc", "postgresql"]
    assert sorted(order, key=lambda name: stages[name]) == order
    assert len({stages[name] for name in order}) == len(order)
    assert stages["gateway-0"] == stages["gateway-1"]


def test_the_users_own_stores_take_the_place_of_the_embedded_ones(tmp_path: Path) -> None:
    own = {
        "AUTH_POSTGRES_DSN": "postgresql://one",
        "ATTRIBUTION_POSTGRES_DSN": "postgresql://two",
        "CAPTURE_CLICKHOUSE_DSN": "clickhouse://three",
        "ANALYTICS_REDIS_URL": "redis://four",
    }
    children = by_name(plan(tmp_path, own))
    assert "postgresql" not in children
    assert "valkey" not in children
    assert children["analytics_svc"].needs == ()
    assert children["analytics_svc"].environment["ANALYTICS_REDIS_URL"] == "redis://four"
    assert children["auth_svc"].needs == ()
    assert children["auth_svc"].environment["AUTH_POSTGRES_DSN"] == "postgresql://one"
    assert children["attribution_svc"].environment["ATTRIBUTION_POSTGRES_DSN"] == "postgresql://two"
    assert children["capture_svc"].environment["CAPTURE_CLICKHOUSE_DSN"] == "clickhouse://three"
    assert children["analytics_svc"].environment["ANALYTICS_CLICKHOUSE_DSN"].startswith("chdb:///")


def test_the_cache_keeps_nothing_on_disk_and_drops_what_was_not_used(tmp_path: Path) -> None:
    children = by_name(plan(tmp_path))
    command = children["valkey"].command()
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--save"] == ""
    assert (options["--appendonly"], options["--port"], options["--maxmemory-policy"]) == ("no", "0", "allkeys-lru")
    assert children["analytics_svc"].needs == ("valkey",)
    assert children["analytics_svc"].environment["ANALYTICS_REDIS_URL"] == f"unix://{options['--unixsocket']}"


def test_one_own_postgresql_leaves_the_embedded_one_for_the_other(tmp_path: Path) -> None:
    children = by_name(plan(tmp_path, {"AUTH_POSTGRES_DSN": "postgresql://one"}))
    assert "postgresql" in children
    assert children["auth_svc"].environment["AUTH_POSTGRES_DSN"] == "postgresql://one"
    assert "warden" not in children["attribution_svc"].environment["ATTRIBUTION_POSTGRES_DSN"]


def test_what_the_user_set_reaches_every_process_but_cannot_break_the_mesh(tmp_path: Path) -> None:
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "GATEWAY_AUTH_TARGET": "elsewhere:1"}
    children = by_name(plan(tmp_path, own))
    assert all(c.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4317" for c in children.values())
    assert children["gateway-0"].environment["GATEWAY_AUTH_TARGET"] == "127.0.0.1:50051"


def test_each_service_has_a_metrics_page_of_its_own(tmp_path: Path) -> None:
    children = by_name(plan(tmp_path, {"TRELLIS_METRICS_PORT": "9464"}))
    services = ("auth_svc", "attribution_svc", "capture_svc", "analytics_svc")
    assert [children[name].environment["TRELLIS_METRICS_PORT"] for name in services] == ["9464", "9465", "9466", "9467"]


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
        ("192.0.2.7", "http://192.0.2.7:8080"),
    ],
)
def test_commands_are_told_an_address_that_can_be_dialled(listen: str, url: str, tmp_path: Path) -> None:
    assert plan(tmp_path, http_host=listen).installation.http_url == url
