"""The functions that tenants may call.

An allow-list: what computes from its arguments alone. Not on it is whatever reads elsewhere (dictionaries, joins,
files, settings, hosts), tells about the server or its users, waits, fails on purpose, takes the name of a function or a
table in a string, or reads the state of an aggregate. Names are taken in any case and written in ClickHouse's.
"""

import re

_AGGREGATE = """
any anyHeavy anyLast approx_top_k argMax argMin avg avgWeighted corr count covarPop covarSamp cramersV deltaSum entropy
exponentialMovingAverage groupArray groupArrayLast groupArrayMovingAvg groupArrayMovingSum groupArraySample
groupArraySorted groupBitAnd groupBitOr groupBitXor groupConcat groupUniqArray histogram intervalLengthSum kurtPop
kurtSamp largestTriangleThreeBuckets mannWhitneyUTest max maxIntersections median min quantile quantileDD
quantileExact quantileExactHigh quantileExactLow quantileExactWeighted quantileTDigest quantileTDigestWeighted
quantileTiming quantiles quantilesExact quantilesTDigest quantilesTiming rankCorr retention sequenceCount sequenceMatch
simpleLinearRegression skewPop skewSamp sparkbar stddevPop stddevSamp studentTTest sum sumCount sumKahan
topK topKWeighted uniq uniqCombined uniqCombined64 uniqExact uniqHLL12 uniqUpTo varPop varSamp welchTTest windowFunnel
"""
_WINDOW = """
cume_dist dense_rank first_value lag lagInFrame last_value lead leadInFrame nonNegativeDerivative nth_value ntile
percent_rank rank row_number
"""
_DATE_AND_TIME = """
addDays addHours addMinutes addMonths addQuarters addSeconds addWeeks addYears age dateDiff dateName dateTrunc
date_diff formatDateTime fromUnixTimestamp fromUnixTimestamp64Micro fromUnixTimestamp64Milli
fromUnixTimestamp64Nano makeDate makeDate32 makeDateTime makeDateTime64 monthName now now64 parseDateTime
parseDateTime64BestEffort parseDateTime64BestEffortOrNull parseDateTime64BestEffortOrZero parseDateTimeBestEffort
parseDateTimeBestEffortOrNull parseDateTimeBestEffortOrZero parseDateTimeOrNull subtractDays subtractHours
subtractMinutes subtractMonths subtractQuarters subtractSeconds subtractWeeks subtractYears timeSlot timeSlots
toDayOfMonth toDayOfWeek toDayOfYear toHour toISOWeek toISOYear toIntervalDay toIntervalHour toIntervalMinute
toIntervalMonth toIntervalQuarter toIntervalSecond toIntervalWeek toIntervalYear toLastDayOfMonth toLastDayOfWeek
toMillisecond toMinute toMonday toMonth toQuarter toRelativeDayNum toRelativeHourNum toRelativeMinuteNum
toRelativeMonthNum toRelativeSecondNum toRelativeWeekNum toSecond toStartOfDay toStartOfFifteenMinutes
toStartOfFiveMinutes toStartOfHour toStartOfISOYear toStartOfInterval toStartOfMinute toStartOfMonth toStartOfQuarter
toStartOfSecond toStartOfTenMinutes toStartOfWeek toStartOfYear toTimezone toUnixTimestamp toUnixTimestamp64Micro
toUnixTimestamp64Milli toUnixTimestamp64Nano toWeek toYYYYMM toYYYYMMDD toYYYYMMDDhhmmss toYear toYearWeek today
tumble tumbleEnd tumbleStart yesterday
"""
_STRING = """
appendTrailingCharIfAbsent arrayStringConcat ascii base64Decode base64Encode base64URLDecode base64URLEncode bin char
concat concatWithSeparator countMatches countSubstrings damerauLevenshteinDistance editDistance empty endsWith extract
extractAll extractAllGroupsHorizontal extractAllGroupsVertical extractGroups extractKeyValuePairs firstLine format
hasSubsequence hasToken hex ilike initcap isValidUTF8 jaroSimilarity jaroWinklerSimilarity left leftPad leftUTF8 length
lengthUTF8 like locate lower lowerUTF8 match multiMatchAny multiMatchAnyIndex multiSearchAny multiSearchFirstIndex
ngramDistance ngrams normalizeUTF8NFC normalizeUTF8NFKC notEmpty notILike notLike position positionCaseInsensitive
positionUTF8 regexpExtract repeat replaceAll replaceOne replaceRegexpAll replaceRegexpOne reverse reverseUTF8 right
rightPad rightUTF8 soundex space splitByChar splitByNonAlpha splitByRegexp splitByString splitByWhitespace startsWith
stringJaccardIndex substring substringIndex substringUTF8 toValidUTF8 tokens translate trimBoth trimLeft trimRight
tryBase64Decode unhex upper upperUTF8
"""
_URL = """
URLHierarchy URLPathHierarchy cutFragment cutQueryString cutQueryStringAndFragment cutToFirstSignificantSubdomain
cutURLParameter cutWWW decodeURLComponent decodeURLFormComponent domain domainWithoutWWW encodeURLComponent
encodeURLFormComponent extractURLParameter extractURLParameterNames extractURLParameters firstSignificantSubdomain
fragment netloc path pathFull port protocol queryString queryStringAndFragment topLevelDomain
"""
_ARRAY_MAP_AND_TUPLE = """
array arrayAUCPR arrayAll arrayAvg arrayCompact arrayConcat arrayCount arrayCumSum arrayDifference arrayDistinct
arrayElement arrayEnumerate arrayEnumerateUniq arrayExists arrayFill arrayFilter arrayFirst arrayFirstIndex
arrayFirstOrNull arrayFlatten arrayFold arrayIntersect arrayJaccardIndex arrayJoin arrayLast arrayLastIndex
arrayLastOrNull arrayMap arrayMax arrayMin arrayPartialSort arrayPopBack arrayPopFront arrayProduct arrayPushBack
arrayPushFront arrayResize arrayReverse arrayReverseSort arrayRotateLeft arrayRotateRight arrayShiftLeft
arrayShiftRight arraySlice arraySort arraySplit arraySum arrayUniq arrayWithConstant arrayZip countEqual has hasAll
hasAny hasSubstr indexOf map mapAdd mapApply mapConcat mapContainsKey mapContainsKeyLike mapExists mapFilter
mapFromArrays mapKeys mapSort mapSubtract mapValues range tuple tupleConcat tupleElement
"""
_CONDITIONAL = """
assumeNotNull clamp coalesce firstNonDefault greatest if ifNull isNotNull isNull isZeroOrNull least multiIf nullIf
toNullable transform
"""
_MATHS = """
abs acos asin atan atan2 avg2 bitAnd bitCount bitHammingDistance bitNot bitOr bitShiftLeft bitShiftRight bitTest bitXor
cbrt ceil cos cosh degrees divide e equals erf exp exp10 exp2 floor gcd greater greaterOrEquals hypot ifNotFinite
intDiv intDivOrZero isFinite isInfinite isNaN lcm less lessOrEquals lgamma log log10 log1p log2 max2 min2 minus modulo
moduloOrZero multiply negate notEquals pi plus positiveModulo pow radians rand rand64 randCanonical round roundBankers
roundDown sigmoid sign sin sinh sqrt tan tanh tgamma trunc widthBucket xor
"""
_DISTANCE_AND_PLACE = """
L1Distance L2Distance cosineDistance dotProduct geoDistance geoToH3 geohashDecode geohashEncode greatCircleDistance
h3ToParent
"""
_JSON = """
JSONArrayLength JSONExtract JSONExtractArrayRaw JSONExtractBool JSONExtractFloat JSONExtractInt JSONExtractKeys
JSONExtractKeysAndValues JSONExtractKeysAndValuesRaw JSONExtractRaw JSONExtractString JSONExtractUInt JSONHas JSONLength
JSONType JSON_EXISTS JSON_QUERY JSON_VALUE isValidJSON simpleJSONExtractBool simpleJSONExtractFloat simpleJSONExtractInt
simpleJSONExtractRaw simpleJSONExtractString simpleJSONExtractUInt simpleJSONHas toJSONString
"""
_IP = """
IPv4CIDRToRange IPv4NumToString IPv4NumToStringClassC IPv4StringToNum IPv4StringToNumOrDefault IPv4StringToNumOrNull
IPv4ToIPv6 IPv6CIDRToRange IPv6NumToString IPv6StringToNum IPv6StringToNumOrDefault IPv6StringToNumOrNull cutIPv6
isIPAddressInRange isIPv4String isIPv6String toIPv4 toIPv4OrDefault toIPv4OrNull toIPv6 toIPv6OrDefault toIPv6OrNull
"""
_HASH = """
CRC32 CRC64 MD5 SHA1 SHA224 SHA256 SHA512 cityHash64 farmHash64 halfMD5 intHash32 intHash64 javaHash jumpConsistentHash
metroHash64 murmurHash2_32 murmurHash2_64 murmurHash3_128 murmurHash3_32 murmurHash3_64 sipHash128 sipHash64 wyHash64
xxHash32 xxHash64 xxh3
"""
_CONVERSION = """
accurateCastOrDefault accurateCastOrNull countDigits formatReadableDecimalSize formatReadableQuantity formatReadableSize
formatReadableTimeDelta toBool toDate toDate32 toDate32OrNull toDateOrDefault toDateOrNull toDateOrZero toDateTime
toDateTime64 toDateTime64OrDefault toDateTime64OrNull toDateTime64OrZero toDateTimeOrDefault toDateTimeOrNull
toDateTimeOrZero toDecimal128 toDecimal32 toDecimal32OrNull toDecimal64 toDecimal64OrDefault toDecimal64OrNull
toDecimal64OrZero toFixedString toFloat32 toFloat32OrNull toFloat32OrZero toFloat64 toFloat64OrDefault toFloat64OrNull
toFloat64OrZero toInt128 toInt16 toInt16OrNull toInt16OrZero toInt32 toInt32OrDefault toInt32OrNull toInt32OrZero
toInt64 toInt64OrDefault toInt64OrNull toInt64OrZero toInt8 toInt8OrNull toInt8OrZero toLowCardinality toString
toTypeName toUInt128 toUInt16 toUInt16OrNull toUInt16OrZero toUInt32 toUInt32OrDefault toUInt32OrNull toUInt32OrZero
toUInt64 toUInt64OrDefault toUInt64OrNull toUInt64OrZero toUInt8 toUInt8OrNull toUInt8OrZero toUUID toUUIDOrDefault
toUUIDOrNull toUUIDOrZero UUIDv7ToDateTime snowflakeIDToDateTime snowflakeIDToDateTime64
"""
_OTHER_NAMES = {
    "ceiling": "ceil",
    "char_length": "lengthUTF8",
    "character_length": "lengthUTF8",
    "date_trunc": "dateTrunc",
    "day": "toDayOfMonth",
    "dayofmonth": "toDayOfMonth",
    "dayofweek": "toDayOfWeek",
    "dayofyear": "toDayOfYear",
    "hour": "toHour",
    "last_day": "toLastDayOfMonth",
    "lcase": "lower",
    "ln": "log",
    "ltrim": "trimLeft",
    "minute": "toMinute",
    "mod": "modulo",
    "month": "toMonth",
    "power": "pow",
    "quarter": "toQuarter",
    "replace": "replaceAll",
    "rtrim": "trimRight",
    "second": "toSecond",
    "stddev_pop": "stddevPop",
    "stddev_samp": "stddevSamp",
    "substr": "substring",
    "trim": "trimBoth",
    "truncate": "trunc",
    "ucase": "upper",
    "var_pop": "varPop",
    "var_samp": "varSamp",
    "week": "toISOWeek",
    "year": "toYear",
}

AGGREGATES = frozenset(_AGGREGATE.split())
WINDOW_ONLY = frozenset(_WINDOW.split())
_PLAIN_GROUPS = (
    _DATE_AND_TIME,
    _STRING,
    _URL,
    _ARRAY_MAP_AND_TUPLE,
    _CONDITIONAL,
    _MATHS,
    _DISTANCE_AND_PLACE,
    _JSON,
    _IP,
    _HASH,
    _CONVERSION,
)
PLAIN = frozenset(name for group in _PLAIN_GROUPS for name in group.split())
NAMES = AGGREGATES | WINDOW_ONLY | PLAIN

_BY_LOWER_NAME = {name.lower(): name for name in sorted(NAMES)} | _OTHER_NAMES
# Not State and Merge: a state may come from elsewhere. Not Resample, Map and ForEach: no need was seen yet.
_COMBINATORS = ("If", "Array", "Distinct", "OrDefault", "OrNull")
_LARGEST_STACK = 3

_READS_BY_NAME = re.compile(
    r"dict.*|joinget.*|(global)?(not)?(null)?in(ignoreset)?|hascolumnintable|region.*|file|evalmlmethod|catboost.*|view"
    r"|getsetting.*|getserversetting|getmergetreesetting|initializeaggregation|arrayreduce.*|.*(state|merge)(if)?",
    re.IGNORECASE,
)


def canonical(name: str) -> str | None:
    """Return an allowed function's name as ClickHouse writes it; None for any other."""
    if found := _BY_LOWER_NAME.get(name.lower()):
        return found
    base, suffix = _split(name)
    found = _BY_LOWER_NAME.get(base.lower())
    return f"{found}{suffix}" if found in AGGREGATES else None


def is_aggregate(name: str) -> bool:
    """Return whether ``name``, as ``canonical`` gave it, is an aggregate, also with combinators."""
    return name in AGGREGATES or _split(name)[0] in AGGREGATES


def reads_by_name(name: str) -> bool:
    """Return whether a function may read what its arguments name: rewriting tables does not bind it.

    Asked of every call, allowed or not, by the rewriting itself, so that it holds without the allow-list.
    """
    return _READS_BY_NAME.fullmatch(name) is not None


def _split(name: str) -> tuple[str, str]:
    base = name
    for _ in range(_LARGEST_STACK):
        suffix = next((suffix for suffix in _COMBINATORS if base.endswith(suffix) and base != suffix), None)
        if suffix is None:
            break
        base = base.removesuffix(suffix)
    return base, name[len(base) :]
