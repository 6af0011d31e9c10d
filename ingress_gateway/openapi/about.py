"""What the gateway tells about itself."""

from ingress_gateway.openapi.parts import Json, answer, json_answer, operation, query, record, ref, text

TAG = "This installation"
_TEXT: Json = {"type": "string"}
_CHECKS = ["redirect", "store", "query"]
_READY = {"redirect": {"ok": True}, "store": {"ok": True}, "query": {"ok": True}}
_NOT_READY = {**_READY, "query": {"ok": False, "reason": "capture_svc does not serve"}}

SCHEMAS: Json = {
    "Alive": record("The process runs.", {"status": text("Always this.", enum=["alive"])}),
    "Check": record(
        "The answer to one question.",
        {"ok": {"type": "boolean", "description": "Yes or no."}, "reason": text("Why not.")},
        optional=("reason",),
    ),
    "Readiness": record(
        "What this mesh can do now.",
        {
            "status": text("`ready` when every check passes.", enum=["ready", "not_ready"]),
            "checks": {
                "type": "object",
                "description": "Can it redirect, store and query?",
                "properties": {name: ref("Check") for name in _CHECKS},
            },
        },
    ),
}

PATHS: Json = {
    "/healthz": {
        "get": operation(
            "healthz",
            TAG,
            "Is the process alive?",
            "Asks no service: where it fails, a restart helps.",
            security=[],
            answers={"200": json_answer("Alive.", ref("Alive"), {"status": "alive"})},
        )
    },
    "/readyz": {
        "get": operation(
            "readyz",
            TAG,
            "Can this mesh redirect, store and query?",
            "Three questions, each answered in the body. A gateway that cannot store goes on redirecting and keeps the "
            "events on its disk.",
            security=[],
            parameters=[
                query("check", _TEXT, f"Ask only these of {', '.join(_CHECKS)}, comma separated.", example="redirect")
            ],
            answers={
                "200": json_answer("Yes.", ref("Readiness"), {"status": "ready", "checks": _READY}),
                "503": json_answer("Not all.", ref("Readiness"), {"status": "not_ready", "checks": _NOT_READY}),
            },
        )
    },
    "/metrics": {
        "get": operation(
            "metrics",
            TAG,
            "Read the numbers",
            "For Prometheus, of all workers of this machine; those of other workers are at most 2 seconds old. Keep it "
            "off the internet.",
            security=[],
            answers={"200": answer("The numbers.", {"text/plain": {"schema": _TEXT}})},
        )
    },
    "/openapi.json": {
        "get": operation(
            "openapi",
            TAG,
            "Read this description",
            "OpenAPI 3.1.",
            security=[],
            answers={"200": answer("This.", {"application/json": {"schema": {"type": "object"}}})},
        )
    },
    "/docs": {
        "get": operation(
            "docs",
            TAG,
            "Read this page",
            "Self-contained: nothing is loaded from elsewhere.",
            security=[],
            answers={"200": answer("This.", {"text/html": {"schema": _TEXT}})},
        )
    },
}
