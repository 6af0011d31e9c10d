"""Classes of events that two sets of mappings read alike, as SQL over ``events``."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analytics_svc.mappings.mapping import ActiveMapping, Span, span_of
from analytics_svc.projection.scratch import quoted, trimmed
from analytics_svc.statement import ORGANIZATION, Statement
from analytics_svc.store.touches import NIL
from enrichment.aliases import DEFAULT
from enrichment.channel import NOT_SET
from enrichment.click_marks import CLICK_MARKS
from enrichment.macros import LONGEST_BYTES as LONGEST_MACRO_BYTES
from enrichment.macros import MACRO_PATTERNS, SUSPECT_FIRST, SUSPECT_LAST

TOKEN = "trellis-token-"  # noqa: S105 - no password: a stand-in for values
"""Begins what stands for a value that nobody looks into."""
OPAQUE = frozenset(
    {
        "click_id",
        "external_id",
        "placement",
        "campaign",
        "term",
        "content",
        "source_campaign_id",
        "transaction_id",
    }
)
"""Fields whose value is passed on: two values are the same to the reading unless they are equal to another one."""
TRAFFIC = frozenset({"source", "medium", "campaign"})
CONVERSION = frozenset({"payout", "currency", "status", "transaction_id", "click_id", "external_id"})
REFERRER = "referrer"
_LONGEST_ID_BYTES = 512
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_SCHEMES = ("http://", "https://", "android-app://", "ios-app://", "//")
MOST_SPELLINGS = 200
_MACRO = quoted(f"^(?:{'|'.join(MACRO_PATTERNS)})\\z")
_FIRST_OF_MACRO = ", ".join(quoted(chr(byte)) for byte in sorted(SUSPECT_FIRST))
_LAST_OF_MACRO = ", ".join(quoted(chr(byte)) for byte in sorted(SUSPECT_LAST))
_LITERAL_FIRST = ", ".join(quoted(letter) for letter in sorted({pattern[0] for pattern in MACRO_PATTERNS[1:]}))
_IS_MACRO = (
    f"((left(value, 1) IN ({_FIRST_OF_MACRO}, {_LITERAL_FIRST}) OR right(value, 1) IN ({_LAST_OF_MACRO}))"
    f" AND length(value) <= {LONGEST_MACRO_BYTES} AND match(value, {_MACRO}))"
)
_NOT_SET = ", ".join(quoted(text) for text in sorted(NOT_SET))


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
    def wanted(self) -> tuple[ActiveMapping, ...]:
        """The mappings that hold only then."""
        return tuple(mapping for mapping in self.after if mapping not in self.before)


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
    campaign: frozenset[str]
    """Those among ``opaque`` that are the campaign's name, or none where they say so."""
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
        is_by_source=any(mapping.source for mapping in comparison.wanted),
        campaign=frozenset(_names({"campaign"}, every) - exact),
        reads_conversions=reads_conversions,
        reads_referrers=reads_referrers,
    )


def _names(fields: Iterable[str], mappings: Sequence[ActiveMapping]) -> set[str]:
    names = {name for field in fields for name in DEFAULT[field]}
    return names | {m.parameters[field] for field in fields for m in mappings if field in m.parameters}


@dataclass(frozen=True, slots=True)
class Classes:
    """How events fall into classes, as expressions over rows of ``events``."""

    names: tuple[str, ...]
    """Parameters, in lower case, whose values ``class_values`` has."""
    steps: Sequence[Mapping[str, str]]
    """Columns by name, each step over the ones before it; the last one is what tells classes apart."""
    parameters: Mapping[str, object]
    is_by_source: bool
    """An event without any parameter in question may be matched or not."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The steps that tell classes apart."""
        return tuple(self.steps[-1])

    def rows(self, prewhere: str, *more: str) -> str:
        """Return the SELECT of the organisation's rows, each with its class, its ``cuts``, and the columns ``more``."""
        # One SELECT in the other, so that what is used twice is written once.
        source = f"events PREWHERE {OWN} AND {prewhere}"
        for step in self.steps:
            columns = ", ".join(f"{expression} AS {name}" for name, expression in step.items())
            source = f"(SELECT *, {columns} FROM {source})"  # noqa: S608 - our own text
        chosen = ", ".join((*self.columns, "cuts", "is_candidate", *more))
        return f"SELECT {chosen}, cityHash64({', '.join(self.columns)}) AS class FROM {source}"  # noqa: S608 - our own text


OWN = f"organization_id = {{{ORGANIZATION}:String}}"
IN_SPAN = (
    "event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
    " AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
)
HAS_CLICK = f"touch_event_id != {NIL}"
SPANS = "arrayCount(edge -> toUnixTimestamp64Milli(event_time) >= edge, {edges:Array(Int64)})"
"""One instant of a class stands for all: no mapping begins or ends between them."""
_TOUCH_IN_SPAN = IN_SPAN.replace("event_time", "touch_time")


def parameters_of(comparison: Comparison) -> dict[str, object]:
    """Return the values of ``OWN``, ``IN_SPAN`` and ``SPANS``."""
    edges = {edge for m in (*comparison.before, *comparison.after) for edge in (m.start_time, m.end_time) if edge}
    span = comparison.span
    return {
        ORGANIZATION: comparison.organization_id,
        "start_ms": _milliseconds(span.start_time or _FIRST),
        "end_ms": _milliseconds(span.end_time or _LAST),
        "edges": sorted(map(_milliseconds, edges)),
    }


def spellings_statement(comparison: Comparison) -> Statement:
    """Find which parameters in question there are, as they are written: one of many is read without the others."""
    names = names_of(comparison)
    counted = "arrayFilter(key -> lower(key) IN {names:Array(String)}, mapKeys(params))"
    return Statement(
        f"SELECT groupUniqArrayArray({MOST_SPELLINGS + 1})({counted}) AS spellings FROM events"  # noqa: S608 - our own text
        f" PREWHERE {OWN} AND ({IN_SPAN} OR ({HAS_CLICK} AND {_TOUCH_IN_SPAN}))",
        {**parameters_of(comparison), "names": sorted(names.exact | names.opaque)},
    )


def classes_of(comparison: Comparison, spellings: Iterable[str]) -> Classes:
    """Return how the events of the comparison fall into classes, whose parameters are written like this."""
    names = names_of(comparison)
    written: dict[str, list[str]] = {}
    for spelling in sorted(spellings):
        written.setdefault(spelling.encode().lower().decode(), []).append(spelling)
    parameters = parameters_of(comparison)
    texts = [_text(names, place, *item, parameters) for place, item in enumerate(written.items())]
    mapped = [place for place, name in enumerate(written, 1) if name in names.mapped]
    steps = (
        {"texts": f"CAST([{', '.join(texts)}], 'Array(String)')"},
        {"used": f"arrayMap(value -> if({_IS_MACRO}, '', value), texts)"},
        {
            "is_candidate": " OR ".join(f"used[{place}] != ''" for place in mapped) or "0",
            "cuts": f"arrayMap(value -> left(value, {_LONGEST_ID_BYTES}), used)",
        },
        {"exact_cuts": f"arrayFilter((value, is_exact) -> is_exact, cuts, {_flags(written, names.exact)})"},
        {
            "class_spans": SPANS,
            "class_values": _values(names, written),
            "class_route": "toString(route)",
            **(_traffic_columns() if names.traffic else {}),
            **(_conversion_columns() if names.reads_conversions else {}),
        },
    )
    return Classes(tuple(written), steps, parameters, names.is_by_source)


def _text(names: Names, place: int, name: str, spellings: Sequence[str], parameters: dict[str, object]) -> str:
    """Return the value of a parameter, blanks around it cut; its name goes to ``parameters``."""
    parameters[f"name{place}"] = name if len(spellings) > 1 else spellings[0]
    value = f"params[{{name{place}:String}}]"
    if len(spellings) > 1:  # the first of them counts
        value = f"params[arrayFirst(key -> lower(key) = {{name{place}:String}}, mapKeys(params))]"
    text = trimmed(value)
    if name != "ref" or not names.traffic or names.reads_referrers:
        return text
    # One that is a URL is the referrer, which its host stands for.
    schemes = " OR ".join(f"startsWith(lower({text}), {quoted(scheme)})" for scheme in _SCHEMES)
    return f"if(route != 'in' AND ({schemes}), '', {text})"


def _flags(written: Iterable[str], chosen: Container[str]) -> str:
    return f"CAST([{', '.join(str(int(name in chosen)) for name in written)}], 'Array(UInt8)')"


def _values(names: Names, written: Iterable[str]) -> str:
    """Return what stands for each parameter. Of an event with none in question it only counts where it came from."""
    written = list(written)
    flags = ", ".join(_flags(written, chosen) for chosen in (names.exact, names.campaign, names.traffic))
    shown = (
        f"multiIf(is_exact, value, cut = '' OR (is_campaign AND lower(cut) IN ({_NOT_SET})), cut, {_token_of('cut')})"
    )
    return (
        "arrayMap((value, cut, is_exact, is_campaign, is_traffic) -> if(is_candidate OR is_traffic,"
        f" {shown}, ''), used, cuts, {flags})"
    )


def _token_of(value: str) -> str:
    """Return what stands for an id or a label: what it is equal to. A value that is read as well stands for itself."""
    return (
        f"multiIf({value} = '' OR has(exact_cuts, {value}), {value}, {value} = click_id, {quoted(TOKEN + 'c')},"
        f" {value} = external_click_id, {quoted(TOKEN + 'e')},"
        f" concat({quoted(TOKEN)}, toString(indexOf(cuts, {value}))))"
    )


def _traffic_columns() -> dict[str, str]:
    return {
        "class_referrer": "toString(referer_host)",
        "class_host": "hex(host)",
        "class_page": "if(route = 'in', '', domain(headers['referer']))",
    }


def _conversion_columns() -> dict[str, str]:
    return {
        "class_type": "if(is_candidate, hex(event_type), '')",
        "class_is_test": "is_candidate AND has(marks, 'test')",
        **{
            f"class_{name}": f"if(is_candidate, hex({_token_of(name)}), '')"
            for name in ("click_id", "external_click_id", "gateway_click_id")
        },
    }


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
