"""Every setting of every process, for the tests that compare pages, manifests and the supervisor with the code."""

import importlib
import inspect

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from svc_runtime.settings import MeshSettings, TelemetrySettings

SERVICES = ("ingress_gateway", "auth_svc", "attribution_svc", "capture_svc", "analytics_svc")
# Imported here and not in a test: a driver's import may try whether the machine has IPv6, which a unit test may not.
_MODULES = {service: importlib.import_module(f"{service}.settings") for service in SERVICES}


def own_settings(service: str) -> list[type[BaseSettings]]:
    """Return the settings classes that a service defines."""
    module = _MODULES[service]
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, BaseSettings) and member.__module__ == module.__name__
    ]


def variables(settings: type[BaseModel], prefix: str | None = None) -> dict[str, bool]:
    """Return the environment variables of a settings class, and whether each must be set."""
    if prefix is None:
        prefix = str(settings.model_config.get("env_prefix", ""))
    found = {}
    for name, field in settings.model_fields.items():
        part = field.annotation
        if inspect.isclass(part) and issubclass(part, BaseModel):
            found |= variables(part, f"{prefix}{name}_")
        else:
            found[f"{prefix}{name}".upper()] = field.is_required()
    return found


def service_variables(service: str) -> dict[str, bool]:
    """Return the variables of a service, those that all processes share included."""
    found = {**variables(MeshSettings), **variables(TelemetrySettings)}
    for settings in own_settings(service):
        found |= variables(settings)
    return found
