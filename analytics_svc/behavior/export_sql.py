"""Exports of journeys as SQL, each statement about a share of the visitors. What a journey is: ``export``."""

from dataclasses import replace

from analytics_svc.behavior import export
from analytics_svc.behavior.columns import (
    ACTOR,
    EVENT_ORDER,
    MILLISECOND,
    actor_columns,
    bind_dimension,
    milliseconds,
)
from analytics_svc.behavior.export import MOST_PATHS, MOST_VALUES, ExportSpec, Extent, Touched
from analytics_svc.behavior.path import TOUCH_TYPES
from analytics_svc.statement import Rows, Statement, condition_of


def compile_extent(spec: ExportSpec) -> Statement:
    """Compile to one row: see ``Extent``."""
    compiler = _Compiler(spec)
    wanted, sold = compiler.is_wanted, "is_conversion = 1"
    sql = f"""
SELECT countIf({sold} AND user_id != '' AND {wanted}), countIf({sold} AND user_id = '' AND {wanted}),
    toInt64(sumIf({_AMOUNT}, user_id = '' AND {wanted}) * 1000000), countIf(is_adjustment = 1 AND user_id != '')
FROM events PREWHERE {compiler.prewhere}
WHERE event_time >= fromUnixTimestamp64Milli({{slice_start_ms:Int64}}, 'UTC') AND {compiler.inside}
    AND ({sold} OR is_adjustment = 1)
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, compiler.parameters)


def extent_of(rows: Rows) -> Extent:
    """Read the row."""
    return Extent(*map(int, rows.rows[0]))


def compile_values(spec: ExportSpec, *, of_everybody: bool) -> Statement:
    """Compile to rows of code, value and touches, of those who converted or of everybody; one more than may be."""
    compiler = _Compiler(spec)
    whose = "user_id != ''" if of_everybody else compiler.converted("")
    sql = f"""
SELECT {_code("touched")} AS code, any(touched), count()
FROM (
    SELECT {spec.dimension.expression} AS touched
    FROM events PREWHERE {compiler.prewhere} WHERE {compiler.people} AND {_IS_TOUCH} AND {whose}
)
GROUP BY code
LIMIT {MOST_VALUES + 1}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, compiler.parameters, can_spill=True)


def values_of(rows: Rows) -> list[Touched]:
    """Read the rows."""
    return [Touched(code, value, count) for code, value, count in rows.rows]


def compile_journeys(spec: ExportSpec, *, share: int, share_count: int) -> Statement:
    """Compile to rows of columns: of conversions micros, touches and whether it counts; of touches codes, ages, direct.

    ``share`` of ``share_count`` of the visitors.
    """
    compiler = _Compiler(spec, share, share_count)
    sql = f"""
SELECT groupArray(micros), groupArray(length(codes)), groupArray(counts), groupArrayArray(codes),
    groupArrayArray(ages), groupArrayArray(directs)
FROM (
    SELECT ending.2 AS micros, ending.6 AS counts, {compiler.path} AS path,
        arrayMap(touch -> touch.3, path) AS codes, arrayMap(touch -> toUInt64(ending.1 - touch.1), path) AS ages,
        arrayMap(touch -> touch.4, path) AS directs
    FROM ({compiler.visitors(compiler.converted(compiler.share), "notEmpty(endings)")})
    ARRAY JOIN endings AS ending
)
GROUP BY intDiv(rowNumberInAllBlocks(), {export.ROW_ENTRIES})
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, compiler.parameters, _ROOMY, can_spill=True)


def compile_counted(spec: ExportSpec, *, share: int, share_count: int) -> Statement:
    """Compile to rows of columns: of different paths their lengths, conversions, unconverted, micros; of touches codes.

    One path more than may be, of ``share`` of ``share_count`` of the visitors.
    """
    compiler = _Compiler(spec, share, share_count)
    kept = "(notEmpty(endings) OR arrayExists(touch -> touch.6 = 1, touches))"
    unconverted = "[(touches[-1].1, toInt64(0), {default_ms:Int64}, {default_session:UInt8}, touches[-1].5, 2)]"
    sql = f"""
SELECT groupArray(length(codes)), groupArrayArray(codes), groupArray(converted), groupArray(unconverted),
    groupArray(micros)
FROM (
    SELECT arrayMap(touch -> touch.3, {compiler.path}) AS codes, countIf(ending.6 = 1) AS converted,
        countIf(ending.6 = 2) AS unconverted, sum(ending.2) AS micros
    FROM ({compiler.visitors(f"user_id != '' AND {compiler.share}", kept)})
    ARRAY JOIN if(empty(endings), {unconverted}, endings) AS ending
    GROUP BY codes
    LIMIT {MOST_PATHS + 1}
)
GROUP BY intDiv(rowNumberInAllBlocks(), {export.ROW_ENTRIES})
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, compiler.parameters, _ROOMY, can_spill=True)


_AMOUNT = "if(currency = {currency:String} AND currency != '', toDecimal128(ifNull(value, 0), 6), toDecimal128(0, 6))"
_IS_TOUCH = "is_conversion = 0 AND event_type IN {touch_types:Array(String)}"
_ADJUSTED = """
            arraySort(groupArrayIf((ordered, at, id, {facts}, is_ending, wanted), is_sale)) AS sales,
            groupArrayIf((ordered, at, id, {facts}, 0, wanted), is_adjusting) AS adjusting,
            arrayMap(
                one -> (one, arrayFirst(sale -> sale.1 = one.1 AND one.1 != 0, sales)), adjusting
            ) AS adjusted,
            arrayConcat(
                arrayMap(
                    sale -> (
                        sale.2,
                        sale.4 + arraySum(each -> if(each.2.3 = sale.3, each.1.4, 0), adjusted),
                        sale.5, sale.6, sale.7, 1
                    ),
                    arrayFilter(sale -> sale.8 = 1, sales)
                ),
                arrayMap(
                    each -> if(
                        each.2.3 = 0,
                        (each.1.2, each.1.4, each.1.5, each.1.6, each.1.7, 0),
                        (each.2.2, each.1.4, each.2.5, each.2.6, each.2.7, 0)
                    ),
                    arrayFilter(each -> each.2.8 = 0 AND if(each.2.3 = 0, each.1.9, each.2.9) = 1, adjusted)
                )
            ) AS endings"""
"""Sales are (order, time, id, micros, look-back, of its session, session, is asked for, is of the types), what adjusts
is alike, and adjusted is each of these with its first sale, all 0 where there is none."""
_ROOMY = {"max_block_size": "8192"}
"""Journeys are long rows."""


def _code(expression: str) -> str:
    return f"sipHash64({expression})"


class _Compiler:
    def __init__(self, spec: ExportSpec, share: int = 0, share_count: int = 1) -> None:
        reach = replace(spec.slice, start_time=spec.earliest_time, filter=None, dimension_filters=())
        everybody, inside = condition_of(reach), condition_of(spec.slice)
        self._spec = spec
        self.inside = inside.where
        """What the slice's filters say."""
        self.is_wanted = "conversion_event IN {conversion_types:Array(String)}" if spec.conversion_types else "1"
        """What the types of conversions say."""
        self.prewhere, self.people = everybody.prewhere, everybody.where
        self.share = "cityHash64(user_id) % {share_count:UInt32} = {share:UInt32}"
        self.parameters: dict[str, object] = {
            **inside.parameters,
            **everybody.parameters,
            "slice_start_ms": milliseconds(spec.slice.start_time),
            "currency": spec.slice.currency,
            "touch_types": list(TOUCH_TYPES),
            "default_ms": spec.default_rule.longest_ms,
            "default_session": int(spec.default_rule.is_same_session),
            "share": share,
            "share_count": share_count,
        }
        if spec.conversion_types:
            self.parameters["conversion_types"] = list(spec.conversion_types)
        if spec.rules:
            self.parameters["rule_types"] = [name for name, _ in spec.rules]
            self.parameters["rule_ms"] = [rule.longest_ms for _, rule in spec.rules]
            self.parameters["rule_sessions"] = [int(rule.is_same_session) for _, rule in spec.rules]
        self.parameters |= bind_dimension(spec.dimension, spec.slice.time_zone)

    @property
    def is_ending(self) -> str:
        """Which rows are conversions that are asked for."""
        return f"is_conversion = 1 AND {self._is_in_slice} AND {self.is_wanted}"

    @property
    def _is_adjusting(self) -> str:
        return f"is_adjustment = 1 AND {self._is_in_slice}" if self._spec.has_adjustments else "0"

    @property
    def _is_in_slice(self) -> str:
        return f"{MILLISECOND} >= {{slice_start_ms:Int64}} AND {self.inside}"

    @property
    def path(self) -> str:
        """The touches of a conversion, of ``touches`` and ``ending``."""
        within = "touch.1 BETWEEN ending.1 - ending.3 AND ending.1"
        if self._has_sessions:
            within += " AND (ending.4 = 0 OR (ending.5 != 0 AND touch.5 = ending.5))"
        return f"arraySlice(arrayFilter(touch -> {within}, touches), -{self._spec.touch_limit})"

    def converted(self, also: str) -> str:
        """Only visitors who converted: the others' touches need not be held."""
        more = f" AND {also}" if also else ""
        return (
            f"user_id IN (SELECT user_id FROM events PREWHERE {self.prewhere}"  # noqa: S608 - our own text
            f" WHERE user_id != '' AND (({self.is_ending}) OR {self._is_adjusting}){more}){more}"
        )

    def visitors(self, whose: str, kept: str) -> str:
        """Each visitor's touches (time, order, code, direct, session, in the slice) and endings.

        An ending is its time, micros, look-back, whether of its session only, session, and 1; 0 for what adjusts a
        conversion of before.
        """
        session = "cityHash64(session_id) * (session_id != '')" if self._has_sessions else "toUInt64(0)"
        facts = "micros, lookback_ms, same_session, session"
        endings = f"groupArrayIf((at, {facts}, 1), is_ending) AS endings"
        order, rows = "", f"({_IS_TOUCH}) OR ({self.is_ending})"
        if self._spec.has_adjustments:
            endings = _ADJUSTED.format(facts=facts)
            order = (
                f", sipHash64(order_id) * (order_id != '') AS ordered, toUInt8({self.is_wanted}) AS wanted,"
                f" toUInt8({self._is_adjusting}) AS is_adjusting"
            )
            rows += f" OR is_conversion = 1 OR {self._is_adjusting}"
        return f"""
        SELECT arraySort(groupArrayIf((at, id, code, direct, session, inside), is_touch)) AS touches,
            {endings}
        FROM (
            SELECT {actor_columns("user_id")}, {MILLISECOND} AS at, {EVENT_ORDER} AS id,
                {_code(self._spec.dimension.expression)} AS code, source IN ('', 'direct') AS direct,
                {session} AS session, toUInt8({_IS_TOUCH}) AS is_touch, toUInt8({self.is_ending}) AS is_ending,
                toUInt8({self._is_in_slice}) AS inside,
                toInt64({_AMOUNT} * 1000000) AS micros, {self._ruled("ms", "Int64")} AS lookback_ms,
                {self._ruled("session", "UInt8")} AS same_session, toUInt8(is_conversion = 1) AS is_sale{order}
            FROM events PREWHERE {self.prewhere}
            WHERE {self.people} AND {whose} AND ({rows})
        )
        GROUP BY {ACTOR}
        HAVING {kept}
    """  # noqa: S608 - our own text: what a caller says is a parameter

    def _ruled(self, what: str, kind: str) -> str:
        default = f"{{default_{what}:{kind}}}"
        if not self._spec.rules:
            return default
        name = {"ms": "rule_ms", "session": "rule_sessions"}[what]
        return (
            f"transform(toString(conversion_event), {{rule_types:Array(String)}}, {{{name}:Array({kind})}}, {default})"
        )

    @property
    def _has_sessions(self) -> bool:
        return any(rule.is_same_session for rule in (self._spec.default_rule, *(rule for _, rule in self._spec.rules)))
