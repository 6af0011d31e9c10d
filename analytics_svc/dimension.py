"""What reports can be split by: names of the catalogue, ``param.<name>`` and ``header.<name>``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rule_language.field import HEADER, PARAM, field_of
from svc_runtime.errors import Violation


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing to split by."""

    name: str
    description: str
    expression: str
    """Text over the columns of ``events``; ``{time_zone:String}`` and, of a parameter or header, ``{key:String}`` are
    its values. Never NULL: what cannot be told is ''."""

    @property
    def key(self) -> str:
        """The parameter's or header's name; empty for any other dimension."""
        return self.name.partition(".")[2]


def _plain(name: str, description: str) -> Dimension:
    return Dimension(name, description, f"toString({name})")


def _known(name: str, description: str) -> Dimension:
    return Dimension(name, description, f"ifNull(toString({name}), '')")


DIMENSIONS: Mapping[str, Dimension] = MappingProxyType(
    {
        dimension.name: dimension
        for dimension in (
            _plain("event_type", "What happened: `click`, `pageview`, `purchase`…"),
            _plain("source", "Where it came from, in lower case."),
            _plain("medium", "How, in lower case."),
            _plain("channel", "The kind of way that source and medium make."),
            _plain("campaign", "The campaign's name that the traffic carries."),
            _plain("campaign_id", "Our campaign."),
            _plain("rule_id", "The campaign's rule that decided."),
            _plain("destination_id", "The destination that was chosen."),
            _plain("source_campaign_id", "The source's own id of its campaign."),
            _plain("term", "Keyword."),
            _plain("content", "Creative."),
            _plain("placement", "Where the source showed it."),
            _known("country", "ISO 3166-1 alpha-2."),
            _known("region", "The country's subdivision."),
            _known("city", "City, in English."),
            _known("asn", "Number of the network."),
            _plain("device_type", "`mobile`, `tablet`, `desktop`, `tv`, `bot`, `other`."),
            _plain("device", "Brand and model."),
            _plain("os", "Operating system."),
            _plain("os_version", "Its version."),
            _plain("browser", "Browser."),
            _plain("browser_version", "Its version."),
            _plain("language", "The first language that the client asks for."),
            _plain("host", "The host that took it."),
            _plain("path", "Path of the URL."),
            _plain("referer_host", "The site that sent it."),
            _plain("conversion_event", "Name of the conversion."),
            _plain("conversion_status", "What became of it."),
            _plain("currency", "Of its value."),
            _plain("partner_id", "The partner that sent it, by its token."),
            _plain("network", "That partner's label of its network."),
            Dimension("is_bot", "`true` or `false`.", "if(is_bot = 1, 'true', 'false')"),
            Dimension("hour", "Hour of the day, `00` to `23`.", "formatDateTime(event_time, '%H', {time_zone:String})"),
            Dimension(
                "weekday",
                "`monday` to `sunday`.",
                "lower(dateName('weekday', event_time, {time_zone:String}))",
            ),
            Dimension("date", "Day, as `2026-03-01`.", "toString(toDate(event_time, {time_zone:String}))"),
        )
    }
)
"""Every dimension but the parameters and headers."""


def dimension_of(name: str, *, path: str, violations: list[Violation]) -> Dimension | None:
    """Find a dimension; None, and a violation that lists the valid ones, where there is none."""
    if name in DIMENSIONS:
        return DIMENSIONS[name]
    found = field_of(name) if name.startswith((PARAM, HEADER)) else None
    if found is None:
        valid = ", ".join(sorted(DIMENSIONS))
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        violations.append(
            Violation(path, f"{shown!r} is no dimension; there are {valid}, param.<name> and header.<name>")
        )
        return None
    column = "params" if found.is_parameter else "headers"
    return Dimension(found.name, "A captured value.", f"{column}[{{key:String}}]")
