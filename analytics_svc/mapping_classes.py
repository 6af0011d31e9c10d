"""Classes of events that two sets of mappings read alike, as SQL over ``events``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analytics_svc.mapping import ActiveMapping, Span, span_of
from analytics_svc.projection.scratch import quoted, trimmed
from analytics_svc.statement import ORGANIZATION
from analytics_svc.store.touches import NIL
from enrichment.aliases import DEFAULT
from enrichment.click_marks import CLICK_MARKS
from enrichment.macros import LONGEST_BYTES as LONGEST_MACRO_BYTES
from enrichment.macros import MACRO_PATTERNS

TOKEN = "trellis-token-"  # noqa: S105 - no password: a stand-in for values
"""Begins what stands for a value that nobody looks into."""
OPAQUE = frozenset({"click_id", "external_id", "placement", "term", "content", "source_campaign_id", "transaction_id"})
"""Fields whose value is passed on: two values are the same to the reading unless they are equal to another one."""
TRAFFIC = frozenset({"source", "medium", "campaign"})
CONVERSION = frozenset({"payout", "currency", "status", "transaction_id", "click_id", "external_id"})
REFERRER = "referrer"
_LONGEST_ID_BYTES = 512
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_SCHEMES = ("http://", "https://", "android-app://", "ios-app://", "//")
_MACRO = quoted(f"^(?:{'|'.join(MACRO_PATTERNS)})\\z")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of mappings of an organisation, each the oldest first."""

    organization_id: str
    before: tuple[ActiveMapping, ...]
    after: tuple[ActiveMapping, ...]

    @property
    def changed(self) -> tuple[ActiveMapping, ...]:
        """The mappings of one set that are not in the other one."""
        return tuple(
            mapping for mapping in (*self.before, *self.after) if (mapping in self.before) != (mapping in self.after)
        )

    @property
    def span(self) -> Span:
        """Everything that may change by itself was received in it."""
        return span_of(self.changed)

    @property
    def new_labels(self) -> frozenset[str]:
        """How rows name the mappings that are wanted."""
        return frozenset(mapping.label for mapping in self.after if mapping not in self.before)


@dataclass(frozen=True, slots=True)
class Names:
    """Parameters, in lower case, that the reading of the fields in question rests on."""

    mapped: frozenset[str]
    """Without one of them an event is read alike by both sets, whoever it is from."""
    exact: frozenset[str]
    """Their values are read: a source, an amount."""
    opaque: frozenset[str]
    """Their values are ids and labels, or it only counts that there is one."""
    traffic: frozenset[str]
    """Those of both kinds that say where a visitor came from; empty where that does not matter."""
    is_by_source: bool
    """Which events the wanted mapping matches depends on where they came from."""
    reads_conversions: bool
    reads_referrers: bool
    """A mapping gives a meaning to a parameter that may also say who sent the visitor."""


def names_of(comparison: Comparison) -> Names:
    """Say what the comparison has to look at."""
    every = (*comparison.before, *comparison.after)
    fields = {field for mapping in comparison.changed for field in mapping.parameters}
    reads_traffic = bool(fields & TRAFFIC) or any(mapping.source for mapping in every)
    reads_conversions = bool(fields & CONVERSION)
    fields |= TRAFFIC if reads_traffic else set()
    fields |= CONVERSION if reads_conversions else set()
    fields |= {"cost", "currency"} if fields & {"cost", "currency"} else set()
    mapped = {name for mapping in every for name in mapping.parameters.values()}
    reads_referrers = reads_traffic and not mapped.isdisjoint(DEFAULT[REFERRER])
    referrers = set(DEFAULT[REFERRER]) if reads_referrers else set()
    marks = {name.decode() for name in CLICK_MARKS} if reads_traffic else set()
    exact = _names(fields - OPAQUE, every) | referrers
    return Names(
        mapped=frozenset(name for mapping in comparison.changed for name in mapping.parameters.values()),
        exact=frozenset(exact),
        opaque=frozenset((_names(fields & OPAQUE, every) | marks) - exact),
        traffic=frozenset(_names(TRAFFIC, every) | referrers | marks) if reads_traffic else frozenset(),
        is_by_source=any(mapping.source for mapping in comparison.changed),
        reads_conversions=reads_conversions,
        reads_referrers=reads_referrers,
    )


def _names(fields: Iterable[str], mappings: Sequence[ActiveMapping]) -> set[str]:
    names = {name for field in fields for name in DEFAULT[field]}
    return names | {m.parameters[field] for field in fields for m in mappings if field in m.parameters}


@dataclass(frozen=True, slots=True)
class Classes:
    """How events fall into classes, as expressions over rows of ``events``."""

    steps: Mapping[str, str]
    """By name, each over the columns and the steps before it; the last ones are the class."""
    columns: tuple[str, ...]
    """The steps that tell classes apart."""
    parameters: Mapping[str, object]

    def rows(self, prewhere: str, *more: str, where: str = "1") -> str:
        """Return the SELECT of the organisation's rows, each with its class, its ``cuts``, and the columns ``more``."""
        steps = ", ".join(f"{expression} AS {name}" for name, expression in self.steps.items())
        columns = ", ".join((*self.columns, "cuts", *more))
        return (
            f"SELECT {columns}, cityHash64({', '.join(self.columns)}) AS class"  # noqa: S608 - our own text
            f" FROM (SELECT {', '.join((*more, steps))} FROM events"
            f" PREWHERE {OWN} AND {prewhere} WHERE {where})"
        )


OWN = f"organization_id = {{{ORGANIZATION}:String}}"
IN_SPAN = (
    "event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
    " AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
)
HAS_CLICK = f"touch_event_id != {NIL}"


def classes_of(comparison: Comparison) -> Classes:
    """Return how the events of the comparison fall into classes."""
    names = names_of(comparison)
    steps = {
        "class_spans": "arrayCount(edge -> toUnixTimestamp64Milli(event_time) >= edge, {edges:Array(Int64)})",
        **_pair_steps(names),
        "class_route": "toString(route)",
        "class_external": f"hex({_token_of('external_click_id')})",
        "class_gateway": f"hex({_token_of('gateway_click_id')})",
        **(_traffic_steps() if names.traffic else {}),
        **(_conversion_steps() if names.reads_conversions else {}),
    }
    if not names.is_by_source:
        # Those that carry no parameter in question differ by their time alone.
        steps |= {
            name: f"if(is_candidate, {step}, {_EMPTY.get(name, chr(39) * 2)})"
            for name, step in steps.items()
            if name.startswith("class_") and name != "class_spans"
        }
    edges = {edge for m in (*comparison.before, *comparison.after) for edge in (m.start_time, m.end_time) if edge}
    span = comparison.span
    parameters = {
        ORGANIZATION: comparison.organization_id,
        "start_ms": _milliseconds(span.start_time or _FIRST),
        "end_ms": _milliseconds(span.end_time or _LAST),
        "edges": sorted(map(_milliseconds, edges)),
        "mapped": sorted(names.mapped),
        "exact": sorted(names.exact),
        "opaque": sorted(names.opaque),
        "traffic": sorted(names.traffic),
    }
    return Classes(steps, tuple(name for name in steps if name.startswith("class_")), parameters)


_EMPTY = {"class_pairs": "[]", "class_is_test": "0"}


def _pair_steps(names: Names) -> dict[str, str]:
    """Return the steps to (name in lower case, value in hexadecimal) of each usable parameter that counts, by name."""
    known = "(name IN {exact:Array(String)} OR name IN {opaque:Array(String)})"
    cut = f"left(pair.2, {_LONGEST_ID_BYTES})"
    macro = f"length(pair.2) <= {LONGEST_MACRO_BYTES} AND match(pair.2, {_MACRO})"
    schemes = " OR ".join(f"startsWith(lower(pair.2), {quoted(scheme)})" for scheme in _SCHEMES)
    # A `ref` that is a URL is the referrer, which its host stands for.
    has_referrer = bool(names.traffic) and not names.reads_referrers
    is_referrer = f"pair.1 = 'ref' AND route != 'in' AND ({schemes})" if has_referrer else "0"
    return {
        "names": "arrayMap(name -> lower(name), mapKeys(params))",
        "is_candidate": "hasAny(names, {mapped:Array(String)})",
        "known": (
            "arrayFilter((pair, place) -> place = indexOf(names, pair.1) AND (pair.1 IN {traffic:Array(String)}"
            f" OR (is_candidate AND {known.replace('name', 'pair.1')})), arrayZip(names, mapValues(params)),"
            " arrayEnumerate(names))"
        ),
        "trimmed": f"arrayMap(pair -> (pair.1, {trimmed('pair.2')}), known)",
        "kept": (f"arraySort(arrayFilter(pair -> pair.2 != '' AND NOT ({macro}) AND NOT ({is_referrer}), trimmed))"),
        "cuts": f"arrayMap(pair -> {cut}, kept)",
        "exact_cuts": "arrayFilter((value, pair) -> pair.1 IN {exact:Array(String)}, cuts, kept)",
        "class_pairs": (
            "arrayMap((pair, value) -> (pair.1, hex(if(pair.1 IN {exact:Array(String)}, pair.2,"
            f" {_token_of('value')}))), kept, cuts)"
        ),
    }


def _token_of(value: str) -> str:
    """Return what stands for an id or a label: what it is equal to. A value that is read as well stands for itself."""
    return (
        f"multiIf({value} = '' OR has(exact_cuts, {value}), {value}, {value} = click_id, {quoted(TOKEN + 'c')},"
        f" {value} = external_click_id, {quoted(TOKEN + 'e')},"
        f" concat({quoted(TOKEN)}, toString(indexOf(cuts, {value}))))"
    )


def _traffic_steps() -> dict[str, str]:
    return {
        "class_referrer": "toString(referer_host)",
        "class_host": "hex(host)",
        "class_page": "if(route = 'in', '', domain(headers['referer']))",
    }


def _conversion_steps() -> dict[str, str]:
    return {
        "class_type": "hex(event_type)",
        "class_is_test": "has(marks, 'test')",
        "class_click": f"hex({_token_of('click_id')})",
    }


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
