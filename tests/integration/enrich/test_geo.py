import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment.geo import UNKNOWN, Geo, Place
from tests.integration.enrich.networks import ASNS, CITIES, FLAT, ODD, write

LONDON = Place("GB", "ENG", "London")


def opened(*paths: Path) -> Geo:
    geo = Geo(paths)
    assert list(geo.refresh()) == []
    return geo


@pytest.mark.parametrize(
    ("ip", "place"),
    [
        ("81.2.69.142", LONDON),
        ("::ffff:81.2.69.142", LONDON),
        ("2a02:d280::1", Place("CZ", "Praha")),
        ("5.5.5.5", UNKNOWN),
        ("8.8.8.8", UNKNOWN),
        ("10.1.2.3", UNKNOWN),
        ("::ffff:10.1.2.3", UNKNOWN),
        ("127.0.0.1", UNKNOWN),
        ("192.168.0.1", UNKNOWN),
        ("100.64.0.1", UNKNOWN),
        ("169.254.1.1", UNKNOWN),
        ("224.0.0.1", UNKNOWN),
        ("fe80::1", UNKNOWN),
        ("fe80::1%eth0", UNKNOWN),
        ("fd00::1", UNKNOWN),
        ("081.2.69.142", UNKNOWN),
        ("81.2.69", UNKNOWN),
        ("81.2.69.142:443", UNKNOWN),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
    ],
)
def test_an_address_is_where_the_file_says_and_else_unknown(tmp_path: Path, ip: str, place: Place) -> None:
    assert opened(write(tmp_path / "city.mmdb", CITIES)).look_up(ip) == place


def test_without_a_file_everything_is_unknown() -> None:
    geo = opened()
    assert geo.look_up("81.2.69.142") is UNKNOWN
    assert geo.edition == ""


def test_a_file_of_cities_and_one_of_networks_complete_each_other(tmp_path: Path) -> None:
    geo = opened(write(tmp_path / "city", CITIES), write(tmp_path / "asn", ASNS, kind="Test-ASN"))
    assert geo.look_up("81.2.69.142") == LONDON._replace(asn=20712)
    assert [part.partition("@")[0] for part in geo.edition.split()] == ["Test-City", "Test-ASN"]


def test_files_with_flat_records_are_read_as_well(tmp_path: Path) -> None:
    assert opened(write(tmp_path / "flat", FLAT)).look_up("81.2.1.1") == Place("FR", "Bretagne", "Brest", 64500)


@pytest.mark.parametrize("ip", ["81.2.69.142", "5.5.5.5"])
def test_records_of_an_odd_shape_are_unknown(tmp_path: Path, ip: str) -> None:
    assert opened(write(tmp_path / "odd", ODD)).look_up(ip) == UNKNOWN


def test_an_ipv6_address_in_a_file_of_ipv4_is_unknown(tmp_path: Path) -> None:
    only_v4 = {network: record for network, record in CITIES.items() if ":" not in network}
    geo = opened(write(tmp_path / "v4", only_v4, ip_version=4))
    assert geo.look_up("2a02:d280::1") == UNKNOWN
    assert geo.look_up("81.2.69.142") == LONDON


def test_a_file_that_changes_is_swapped(tmp_path: Path) -> None:
    path = write(tmp_path / "city", CITIES)
    geo = opened(path)
    assert geo.look_up("81.2.69.142").country == "GB"
    write(tmp_path / "next", FLAT, kind="Flat").replace(path)
    assert geo.look_up("81.2.69.142").country == "GB"
    assert list(geo.refresh()) == []
    assert geo.look_up("81.2.69.142").country == "FR"
    assert geo.edition.startswith("Flat@")


def test_a_file_that_appears_later_is_taken_and_its_absence_is_told(tmp_path: Path) -> None:
    geo = Geo([tmp_path / "city"])
    assert list(geo.refresh()) == [f"{tmp_path / 'city'}: FileNotFoundError"]
    write(tmp_path / "city", CITIES)
    assert list(geo.refresh()) == []
    assert geo.look_up("81.2.69.142") == LONDON


@pytest.mark.parametrize("content", [b"", b"not a database", b"\xab\xcd\xefMaxMind.com" * 3])
def test_a_broken_file_leaves_what_was_read_before_and_is_told_once(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "city", CITIES)
    geo = opened(path)
    edition = geo.edition
    path.write_bytes(content)
    assert len(geo.refresh()) == 1
    assert list(geo.refresh()) == []
    assert geo.look_up("81.2.69.142") == LONDON
    assert geo.edition == edition


def test_a_file_gone_leaves_what_was_read_before(tmp_path: Path) -> None:
    path = write(tmp_path / "city", CITIES)
    geo = opened(path)
    path.unlink()
    assert len(geo.refresh()) == 1
    assert geo.look_up("81.2.69.200") == LONDON


def test_a_file_cut_short_in_place_does_not_kill_the_process(tmp_path: Path) -> None:
    path = write(tmp_path / "city", CITIES)
    geo = opened(path)
    os.truncate(path, 0)  # a reader that had the file itself mapped would die of SIGBUS here
    assert geo.look_up("81.2.69.142") == LONDON


def test_a_file_that_is_being_written_is_left_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "city", CITIES)
    copy = shutil.copyfileobj

    def copy_while_it_grows(*files: object) -> None:
        copy(*files)  # type: ignore[call-overload]  # passed through as they come
        os.utime(path, ns=(1, 1))

    geo = Geo([path])
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", copy_while_it_grows)
        assert list(geo.refresh()) == []
    assert geo.look_up("81.2.69.142") == UNKNOWN
    assert list(geo.refresh()) == []
    assert geo.look_up("81.2.69.142") == LONDON


def test_closed_knows_nothing_and_refresh_opens_again(tmp_path: Path) -> None:
    geo = opened(write(tmp_path / "city", CITIES))
    geo.close()
    assert geo.look_up("81.2.69.142") == UNKNOWN
    geo.refresh()
    assert geo.look_up("81.2.69.142") == LONDON


def test_a_damaged_file_never_raises_in_a_look_up(tmp_path: Path) -> None:
    whole = write(tmp_path / "city", CITIES).read_bytes()
    for position in range(0, len(whole), 7):
        damaged = tmp_path / f"damaged-{position}"
        damaged.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        geo = Geo([damaged])
        geo.refresh()
        for ip in ("81.2.69.142", "2a02:d280::1", "8.8.8.8"):
            assert isinstance(geo.look_up(ip), Place)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=50), st.ip_addresses().map(str)))
def test_no_text_is_too_odd_for_an_address(tmp_path: Path, ip: str) -> None:
    path = tmp_path / "city"
    if not path.exists():
        write(path, CITIES)
    assert isinstance(opened(path).look_up(ip), Place)
