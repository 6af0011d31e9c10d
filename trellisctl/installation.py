"""Where an installation is and how to prove to it that we are its operator.

On one machine ``trellis up`` leaves a file in its data directory; against a cluster the environment says it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from trellisctl.errors import CommandError

FILE_NAME = "installation.json"


@dataclass(frozen=True, slots=True)
class Installation:
    """One running Trellis, as a command needs to know it."""

    mesh_secret: str
    """Signs our operator tokens. Secret."""
    auth_target: str
    """gRPC target of auth_svc, for example ``127.0.0.1:50051``."""
    attribution_target: str
    """gRPC target of attribution_svc."""
    capture_target: str
    """gRPC target of capture_svc."""
    analytics_target: str
    """gRPC target of analytics_svc."""
    http_url: str
    """The gateway, for example ``http://127.0.0.1:8080``; no slash at the end."""

    def __repr__(self) -> str:
        """Show the address alone: the secret must not reach a traceback."""
        return f"Installation(http_url={self.http_url!r})"


class InstallationSettings(BaseSettings):
    """What the environment says about the installation (``TRELLIS_…``)."""

    model_config = SettingsConfigDict(env_prefix="TRELLIS_", frozen=True, extra="ignore")

    data_dir: Path = Path(".trellis")
    """Data directory of ``trellis up``."""
    mesh_secret: SecretStr | None = None
    """The installation's secret. With it nothing is read from the data directory."""
    auth_target: str = "127.0.0.1:50051"
    """gRPC target of auth_svc."""
    attribution_target: str = "127.0.0.1:50052"
    """gRPC target of attribution_svc."""
    capture_target: str = "127.0.0.1:50053"
    """gRPC target of capture_svc."""
    analytics_target: str = "127.0.0.1:50054"
    """gRPC target of analytics_svc."""
    url: str = "http://127.0.0.1:8080"
    """The gateway."""


def read_installation(data_dir: Path | None) -> Installation:
    """Return the installation that the environment names, else the one of ``data_dir``.

    ``data_dir`` None means ``TRELLIS_DATA_DIR``, else ``.trellis`` here. Without TRELLIS_MESH_SECRET a target or URL in
    the environment wins over the file's. Raises CommandError when there is no installation, or its file is damaged.
    """
    settings = InstallationSettings()
    if settings.mesh_secret is not None:
        return Installation(
            mesh_secret=settings.mesh_secret.get_secret_value(),
            auth_target=settings.auth_target,
            attribution_target=settings.attribution_target,
            capture_target=settings.capture_target,
            analytics_target=settings.analytics_target,
            http_url=settings.url.rstrip("/"),
        )
    held = _read_file((data_dir or settings.data_dir) / FILE_NAME)
    given = settings.model_fields_set
    return Installation(
        mesh_secret=held.mesh_secret,
        auth_target=settings.auth_target if "auth_target" in given else held.auth_target,
        attribution_target=settings.attribution_target if "attribution_target" in given else held.attribution_target,
        capture_target=settings.capture_target if "capture_target" in given else held.capture_target,
        analytics_target=settings.analytics_target if "analytics_target" in given else held.analytics_target,
        http_url=settings.url.rstrip("/") if "url" in given else held.http_url,
    )


def write_installation(data_dir: Path, installation: Installation) -> None:
    """Leave the file that ``read_installation`` reads: whole or not at all, for its owner's eyes only."""
    path = data_dir / FILE_NAME
    half = path.with_suffix(".half")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    half.write_text(json.dumps(asdict(installation), indent=2) + "\n")
    half.replace(path)


def _read_file(path: Path) -> Installation:
    try:
        return Installation(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise CommandError(
            f"no installation in {path.parent}: start one with `trellis up`, name its directory with --data-dir or "
            "TRELLIS_DATA_DIR, or set TRELLIS_MESH_SECRET and the TRELLIS_…_TARGET variables"
        ) from None
    except PermissionError:
        raise CommandError(
            f"{path} belongs to another user: run the command as the one who runs `trellis up`"
        ) from None
    except (ValueError, TypeError) as error:
        raise CommandError(f"{path} is damaged ({error}): `trellis up` writes it again") from None
