"""auth_svc as a process."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.contract.auth.mesh import MESH, PEPPER

SECRET = MESH.mesh_secret.get_secret_value()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class AuthProcess:
    """A process, and what it has written."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen([sys.executable, "-m", "auth_svc"], env=environment, stderr=self._errors)

    def logs(self) -> str:
        """Return its standard error up to now."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def close(self) -> None:
        """Kill it if it runs still."""
        self.process.kill()
        self.process.wait()
        self._errors.close()


@contextlib.contextmanager
def running_process(**environment: str) -> Iterator[AuthProcess]:
    """Run ``python -m auth_svc`` for the time of the block."""
    own = {"TRELLIS_MESH_SECRET": SECRET, "AUTH_KEY_PEPPER": PEPPER, **environment}
    with contextlib.closing(AuthProcess({**os.environ, **own})) as running:
        yield running


def wait_until_healthy(port: int) -> None:
    """Ask until it serves."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="trellis.auth.v1.AuthService"), wait_for_ready=True, timeout=30
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
