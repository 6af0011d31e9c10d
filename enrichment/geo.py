"""Looks up where an address is, in the operator's MMDB files. Without a file everything is unknown."""

import ipaddress
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import maxminddb
from maxminddb.types import Record

Signature = tuple[int, int, int]


class Place(NamedTuple):
    """Where an address is. None: unknown."""

    country: str | None = None
    """ISO 3166-1 alpha-2."""
    region: str | None = None
    """The first subdivision: the part of ISO 3166-2 after the country, else its name."""
    city: str | None = None
    """English name."""
    asn: int | None = None


UNKNOWN = Place()
_Reader = maxminddb.reader.Reader


class Geo:
    """Looks addresses up in one or more files, such as one of cities and one of networks. Earlier files win.

    ``look_up`` is safe from several threads; ``refresh`` and ``close`` belong to one.
    """

    def __init__(self, paths: Sequence[Path] = (), *, cache_size: int = 50_000) -> None:
        """``cache_size`` is in addresses. No file is opened before ``refresh``."""
        self._files = [_File(path) for path in paths]
        self._cache_size = cache_size
        self._remembered = self._new_cache()

    def look_up(self, ip: str) -> Place:
        """Return where an address is; a private, reserved or invalid one is unknown."""
        return self._remembered(ip)

    def refresh(self) -> Sequence[str]:
        """Open files that are new or changed; return why some could not be read, by text.

        A file that is gone or broken leaves what was read before. Costs one ``stat`` a file when nothing changed.
        """
        errors = []
        before = self.edition
        for file in self._files:
            error = file.refresh()
            if error:
                errors.append(error)
        if self.edition != before:
            self._remembered = self._new_cache()
        return errors

    @property
    def edition(self) -> str:
        """What the files are, such as ``GeoLite2-City@1714557600``: the same edition gives the same places."""
        return " ".join(file.edition for file in self._files if file.edition)

    def close(self) -> None:
        """Forget the files; every address is unknown from now on."""
        for file in self._files:
            file.close()
        self._remembered = self._new_cache()

    def _new_cache(self) -> Callable[[str], Place]:
        readers = [file.reader for file in self._files if file.reader is not None]
        return lru_cache(self._cache_size)(lambda ip: _look_up(readers, ip))


class _File:
    """One MMDB file, read from a copy of ours: one written over in place would kill the process that has it mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: Signature | None = None
        self.reader: _Reader | None = None
        self.edition = ""

    def refresh(self) -> str:
        """Open the file if it changed; return why it could not be read, once for each change, or empty text."""
        try:
            seen = self._signature()
            if seen == self._seen:
                return ""
            self._seen = seen
            self._open(seen)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            return f"{self._path}: {type(error).__name__}"
        return ""

    def close(self) -> None:
        """Forget the file. A look-up under way keeps the reader until it is done."""
        self.reader, self.edition, self._seen = None, "", None

    def _signature(self) -> Signature:
        status = self._path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _open(self, seen: Signature) -> None:
        with ExitStack() as stack:
            copy = stack.enter_context(tempfile.NamedTemporaryFile())
            with self._path.open("rb") as original:
                shutil.copyfileobj(original, copy)
            copy.flush()
            if self._signature() != seen:
                self._seen = None  # it is being written: again next time
                return
            reader = maxminddb.open_database(copy.name, maxminddb.MODE_MMAP_EXT)  # the mapping outlives the name
        metadata = reader.metadata()
        self.reader = reader
        self.edition = f"{metadata.database_type}@{metadata.build_epoch}"


def _look_up(readers: Sequence[_Reader], ip: str) -> Place:
    address = _public_address(ip)
    if address is None:
        return UNKNOWN
    place = UNKNOWN
    for reader in readers:
        found = _read(reader, address)
        place = Place(
            place.country or found.country,
            place.region or found.region,
            place.city or found.city,
            place.asn or found.asn,
        )
    return place


def _public_address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address if address.is_global and not address.is_multicast else None


def _read(reader: _Reader, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Place:
    try:
        record = reader.get(address)
    except (ValueError, maxminddb.InvalidDatabaseError):  # an IPv6 address in a file of IPv4; a damaged record
        return UNKNOWN
    if not isinstance(record, Mapping):
        return UNKNOWN
    return Place(_country(record), _region(record), _city(record), _asn(record))


def _country(record: Mapping[str, Record]) -> str | None:
    country = record.get("country")
    code = _text(country, "iso_code") or _text(record, "country_code")
    return code.upper() if code and len(code) == 2 else None


def _region(record: Mapping[str, Record]) -> str | None:
    subdivisions = record.get("subdivisions")
    if isinstance(subdivisions, list) and subdivisions and isinstance(subdivisions[0], Mapping):
        return _text(subdivisions[0], "iso_code") or _text(subdivisions[0].get("names"), "en")
    return _text(record, "region")


def _city(record: Mapping[str, Record]) -> str | None:
    city = record.get("city")
    return _text(city.get("names"), "en") if isinstance(city, Mapping) else _text(record, "city")


def _asn(record: Mapping[str, Record]) -> int | None:
    number = record.get("autonomous_system_number", record.get("asn"))
    if isinstance(number, str):
        digits = number.upper().removeprefix("AS")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else None
    return number if isinstance(number, int) and 0 < number < 2**32 else None


def _text(record: Record | None, name: str) -> str | None:
    if not isinstance(record, Mapping):
        return None
    text = record.get(name)
    return text if isinstance(text, str) and text else None
