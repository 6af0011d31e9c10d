import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingress_gateway.openapi.document import openapi_document
from tests.contract.gateway_api.fakes import HOST
from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]


async def test_the_description_is_served(mesh: Mesh) -> None:
    answer = await mesh.get("/openapi.json", key=None)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == orjson.loads(orjson.dumps(openapi_document()))


async def test_the_page_may_load_nothing_from_elsewhere(mesh: Mesh) -> None:
    answer = await mesh.get("/docs", key=None)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


async def test_the_metrics_of_all_workers_are_on_one_page(mesh: Mesh) -> None:
    directory = mesh.gateway.settings.data_dir / "metrics"
    (directory / "w7.prom").write_text(
        "# HELP process_open_fds Number of open file descriptors.\n# TYPE process_open_fds gauge\n"
        'process_open_fds{worker="w7"} 12.0\n'
    )
    answer = await mesh.get("/metrics", key=None)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    workers = {sample.labels["worker"] for sample in families["process_open_fds"].samples}
    assert workers == {"w0", "w7"}
    assert answer.body.count(b"# TYPE process_open_fds gauge\n") == 1
    (directory / "w7.prom").unlink()


async def test_a_head_is_a_get_without_its_body(mesh: Mesh) -> None:
    for path in ("/openapi.json", "/docs", "/metrics", "/api/v1/campaigns", "/api/v1/ledger"):
        answer = await mesh.call("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("DELETE", "/api/v1/campaigns", 405, "GET, HEAD, POST"),
        ("PUT", "/api/v1/campaigns/summer_sale", 405, "GET, HEAD, PATCH"),
        ("GET", "/api/v1/keys/key1:revoke", 405, "POST"),
        ("POST", "/metrics", 405, "GET, HEAD"),
        ("GET", "/nothing/here", 404, None),
        ("GET", "/api/v1/campaigns/", 404, None),
        ("GET", "/api/v2/campaigns", 404, None),
    ],
)
async def test_what_is_not_there_is_a_problem(
    mesh: Mesh, method: str, path: str, status: int, allowed: str | None
) -> None:
    answer = await mesh.call(method, path)
    assert (answer.status, answer.reason) == (status, "METHOD_NOT_ALLOWED" if allowed else "NOT_FOUND")
    assert answer.headers.get("Allow") == allowed


async def test_no_answer_tells_versions(mesh: Mesh) -> None:
    for path in ("/in/summer_sale", "/in/none", "/pixel.gif", "/healthz", "/docs", "/nothing", "/api/v1/keys"):
        answer = await mesh.get(path, key=None, headers={"Host": HOST})
        assert answer.headers.get("Server", "trellis") == "trellis"
        assert not any("aiohttp" in value.lower() or "python" in value.lower() for value in answer.headers.values())


async def test_a_page_of_another_origin_gets_no_leave_to_manage(mesh: Mesh) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = await mesh.call("OPTIONS", "/nothing/api", headers=headers)
    assert answer.status == 404
    async with mesh.session.options(mesh.url + "/api/v1/keys", headers=headers) as preflight:
        assert "Access-Control-Allow-Origin" not in preflight.headers
    answer = await mesh.get("/api/v1/keys", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_too_large_a_body_is_refused_with_its_limit(mesh: Mesh) -> None:
    answer = await mesh.post("/api/v1/campaigns", {"name": "x" * 70_000})
    assert (answer.status, answer.reason) == (413, "TOO_LARGE")
    assert "65536" in answer.json["detail"]
    answer = await mesh.post("/api/v1/campaigns", {"name": "x"}, headers={"Content-Encoding": "lzma"})
    assert (answer.status, answer.reason) == (415, "ENCODING_UNSUPPORTED")
