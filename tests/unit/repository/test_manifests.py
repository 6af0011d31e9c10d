"""The manifests against themselves and against the settings that the processes read."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.settings_catalogue import SERVICES, service_variables

BASE = Path(__file__).parents[3] / "k8s" / "base"
GRPC_SERVICES = {"auth-svc": 50051, "attribution-svc": 50052, "capture-svc": 50053, "analytics-svc": 50054}
WORKLOADS = {"gateway", *GRPC_SERVICES}
SECRETS = {
    ("trellis-mesh", "mesh-secret"),
    ("trellis-keys", "key-pepper"),
    ("auth-postgres", "dsn"),
    ("attribution-postgres", "dsn"),
    ("capture-clickhouse", "dsn"),
    ("analytics-clickhouse", "dsn"),
}
Manifest = dict[str, Any]


def load(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


KUSTOMIZATION = load(BASE / "kustomization.yaml")[0]
ALL = [manifest for name in KUSTOMIZATION["resources"] for manifest in load(BASE / name)]


def of_kind(*kinds: str) -> dict[str, Manifest]:
    return {manifest["metadata"]["name"]: manifest for manifest in ALL if manifest["kind"] in kinds}


def pod(name: str) -> Manifest:
    spec: Manifest = of_kind("Deployment", "StatefulSet")[name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Manifest:
    found: Manifest = pod(name)["containers"][0]
    return found


def test_the_kustomization_names_every_file_once() -> None:
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(KUSTOMIZATION["resources"]) == sorted(files)


def test_there_is_a_workload_a_service_and_a_budget_for_each_process() -> None:
    assert set(of_kind("Deployment", "StatefulSet")) == WORKLOADS | {"valkey"}
    assert set(of_kind("PodDisruptionBudget")) == WORKLOADS
    assert set(of_kind("Service")) == WORKLOADS | {"gateway-replicas", "valkey"}


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_selectors_find_the_pods_of_their_workload(name: str) -> None:
    labels = of_kind("Deployment", "StatefulSet")[name]["spec"]["template"]["metadata"]["labels"]
    workload = of_kind("Deployment", "StatefulSet")[name]
    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert of_kind("Service")[name]["spec"]["selector"] == labels
    assert of_kind("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_the_environment_is_what_the_process_reads(name: str) -> None:
    module = container(name)["command"][-1]
    assert module in SERVICES
    known = service_variables(module)
    given = {item["name"] for item in container(name)["env"]} | set(of_kind("ConfigMap")["trellis"]["data"])
    assert given <= set(known)
    assert {variable for variable, is_required in known.items() if is_required} <= given


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_secrets_are_referenced_and_not_contained(name: str) -> None:
    for item in container(name)["env"]:
        is_secret = item["name"].endswith(("_SECRET", "_PEPPER", "_DSN", "_PASSWORD"))
        assert is_secret == ("valueFrom" in item), item["name"]
        if is_secret:
            reference = item["valueFrom"]["secretKeyRef"]
            assert (reference["name"], reference["key"]) in SECRETS
    assert not of_kind("Secret")


def test_the_kustomization_says_which_secrets_to_bring() -> None:
    text = (BASE / "kustomization.yaml").read_text()
    for name, key in SECRETS:
        assert any(line.split()[1:3] == [name, key] for line in text.splitlines() if line.startswith("#")), name


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_pod_has_no_right_that_it_does_not_need(name: str) -> None:
    spec, own = pod(name), container(name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= set(own["resources"])


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_volumes_that_are_mounted_exist(name: str) -> None:
    workload = of_kind("Deployment", "StatefulSet")[name]
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in pod(name)["volumes"]} | claims
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == volumes


@pytest.mark.parametrize(("name", "port"), sorted(GRPC_SERVICES.items()))
def test_a_grpc_service_is_headless_and_probed_on_the_port_that_it_listens_on(name: str, port: int) -> None:
    own, service = container(name), of_kind("Service")[name]["spec"]
    environment = {item["name"]: item.get("value") for item in own["env"]}
    listen = next(value for variable, value in environment.items() if variable.endswith("_LISTEN"))
    assert listen == f"0.0.0.0:{port}"
    assert service["clusterIP"] == "None"
    assert [entry["port"] for entry in service["ports"]] == [port]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert own[probe]["grpc"] == {"port": port}


def test_every_target_is_a_service_that_exists() -> None:
    targets = {
        item["value"] for name in WORKLOADS for item in container(name)["env"] if item["name"].endswith("_TARGET")
    }
    assert targets == {f"dns:///{name}:{port}" for name, port in GRPC_SERVICES.items()}


def test_the_cache_is_reached_by_analytics_alone_and_keeps_nothing_on_disk() -> None:
    url = next(item["value"] for item in container("analytics-svc")["env"] if item["name"] == "ANALYTICS_REDIS_URL")
    service = of_kind("Service")["valkey"]
    assert url == f"redis://valkey:{service['spec']['ports'][0]['port']}/0"
    labels = of_kind("Deployment")["valkey"]["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == service["spec"]["selector"]["app.kubernetes.io/name"]
    policy = of_kind("NetworkPolicy")["valkey"]["spec"]
    assert policy["podSelector"]["matchLabels"] == service["spec"]["selector"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "analytics-svc"}}}]
    arguments = container("valkey")["args"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert options["--maxmemory-policy"] == "allkeys-lru"


def test_a_gateway_replica_keeps_its_journal_on_a_volume_of_its_own() -> None:
    gateway = of_kind("StatefulSet")["gateway"]
    environment = {item["name"]: item.get("value") for item in container("gateway")["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container("gateway")["volumeMounts"]}
    assert mounts[environment["GATEWAY_DATA_DIR"]] == gateway["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    assert gateway["spec"]["serviceName"] == "gateway-replicas"
    assert gateway["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_the_gateway_stays_in_service_while_a_store_is_down() -> None:
    assert container("gateway")["readinessProbe"]["httpGet"]["path"] == "/readyz?check=redirect"
    assert container("gateway")["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_image_holds_every_package_and_runs_as_the_manifests_say() -> None:
    root = BASE.parents[1]
    dockerfile = (root / "Dockerfile").read_text()
    allowed = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((root / "pyproject.toml").read_text())
    packages = {name.split("/")[0] for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    copied = set(re.findall(r"^COPY ([\w.-]+) ", dockerfile, flags=re.MULTILINE))
    assert packages <= copied
    assert copied <= allowed
    assert "USER 10001:10001" in dockerfile
    assert all(pod(name)["securityContext"]["runAsUser"] == 10001 for name in WORKLOADS)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_renders_the_base() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    assert len(rendered) == len(ALL)
    assert all(m["metadata"].get("namespace", "trellis") == "trellis" for m in rendered)
