"""Every setting of every process, for the tests that compare pages, manifests and the supervisor with the code."""

import importlib
import inspect

from pydantic_settings import BaseSettings

from svc_runtime.settings import MeshSettings, TelemetrySettings

SERVICES = ("ingress_gateway", "auth_svc", "attribution_svc", "capture_svc", "analytics_svc")


def own_settings(service: str) -> list[type[BaseSettings]]:
    """Return the settings classes that a service defines."""
    module = importlib.import_module(f"{service}.settings")
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, BaseSettings) and member.__module__ == module.__name__
    ]


def variables(settings: type[BaseSettings]) -> dict[str, bool]:
    """Return the environment variables of a settings class, and whether each must be set."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{name}".upper(): field.is_required() for name, field in settings.model_fields.items()}


def service_variables(service: str) -> dict[str, bool]:
    """Return the variables of a service, those that all processes share included."""
    found = {**variables(MeshSettings), **variables(TelemetrySettings)}
    for settings in own_settings(service):
        found |= variables(settings)
    return found
