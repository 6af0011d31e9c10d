"""Small MMDB files of networks that nobody supplied: made here, by hand."""

from pathlib import Path
from typing import Any

from mmdb_writer import MmdbU32, MMDBWriter
from netaddr import IPSet

Networks = dict[str, dict[str, Any]]

CITIES: Networks = {
    "81.2.69.0/24": {
        "country": {"iso_code": "GB"},
        "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}],
        "city": {"names": {"en": "London", "de": "London"}},
    },
    "2a02:d280::/29": {"country": {"iso_code": "cz"}, "subdivisions": [{"names": {"en": "Praha"}}]},
    "5.5.5.0/24": {"country": {"names": {"en": "Nowhere"}}, "subdivisions": [], "city": {}},
    "10.0.0.0/8": {"country": {"iso_code": "US"}},
}
ASNS: Networks = {
    "81.2.69.0/24": {"autonomous_system_number": MmdbU32(20712), "autonomous_system_organization": "Example"},
}
FLAT: Networks = {"81.2.0.0/16": {"country_code": "FR", "region": "Bretagne", "city": "Brest", "asn": "AS64500"}}
ODD: Networks = {
    "81.2.69.0/24": {"country": "GB", "subdivisions": ["x"], "city": {"names": "London"}, "asn": "AS٣"},
    "5.5.5.0/24": {"country": {"iso_code": "GBR"}, "subdivisions": {"a": "b"}, "asn": "ASN"},
}


def write(path: Path, networks: Networks, *, kind: str = "Test-City", ip_version: int = 6) -> Path:
    """Write an MMDB file and return its path."""
    writer = MMDBWriter(ip_version=ip_version, ipv4_compatible=ip_version == 6, database_type=kind, languages=["en"])
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path
