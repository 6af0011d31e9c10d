"""What a worker may be set to."""

import ipaddress
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ingress_gateway.settings import GatewaySettings

MIB = 1024 * 1024


def _settings(**more: object) -> GatewaySettings:
    return GatewaySettings(**{"data_dir": Path("data"), "key_pepper": SecretStr("p" * 32), **more})


def test_proxies_are_networks_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1,fd00::/8,")
    assert _settings().trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("192.0.2.1/32"),
        ipaddress.ip_network("fd00::/8"),
    )
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "")
    assert _settings().trusted_proxies == ()
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "nonsense")
    with pytest.raises(ValidationError):
        _settings()


def test_a_journal_has_room_for_more_than_the_file_that_is_being_written() -> None:
    _settings(journal_segment_bytes=32 * MIB, journal_disk_bytes=32 * MIB)
    with pytest.raises(ValidationError, match="more than journal_disk_bytes"):
        _settings(journal_segment_bytes=33 * MIB, journal_disk_bytes=32 * MIB)


def test_the_pepper_is_in_no_text() -> None:
    assert "pppp" not in repr(_settings())
    with pytest.raises(ValidationError) as refused:
        _settings(key_pepper=SecretStr("short-pepper"))
    assert "short-pepper" not in str(refused.value)
