"""Statistics of A/B tests. Probabilities are 0 to 1, tests two-sided, differences B minus A."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from svc_runtime.errors import InvalidArgumentError, Violation

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm of a test has seen. Raises InvalidArgumentError unless 0 <= conversions <= visitors."""

    conversions: int
    visitors: int

    def __post_init__(self) -> None:
        """Check the counts."""
        if not 0 <= self.conversions <= self.visitors:
            problem = f"has {self.conversions} conversions of {self.visitors} visitors"
            raise InvalidArgumentError.of([Violation("arm", problem)])

    @property
    def rate(self) -> float:
        """Conversions per visitor; 0 without visitors."""
        return self.conversions / self.visitors if self.visitors else 0.0


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test statistic and its p-value."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends included."""

    low: float
    high: float


_NO_EVIDENCE = TestResult(0.0, 1.0)


def two_proportion_z(a: Arm, b: Arm) -> TestResult:
    """Test whether two rates differ (pooled z); its statistic has the sign of A minus B.

    Without visitors, or where all or none converted, nothing can be said: 0 and p = 1. Valid for one look at a size
    that was fixed before; for looking at any time see ``always_valid_p``.
    """
    visitors = a.visitors + b.visitors
    if not a.visitors or not b.visitors:
        return _NO_EVIDENCE
    pooled = (a.conversions + b.conversions) / visitors
    variance = pooled * (1 - pooled) * (1 / a.visitors + 1 / b.visitors)
    return _z((a.rate - b.rate), variance)


def one_proportion_z(arm: Arm, rate: float) -> TestResult:
    """Test whether a rate is another than ``rate`` (the variance is the sample's)."""
    if not arm.visitors:
        return _NO_EVIDENCE
    return _z(arm.rate - rate, arm.rate * (1 - arm.rate) / arm.visitors)


def _z(difference: float, variance: float) -> TestResult:
    if variance <= 0:
        return _NO_EVIDENCE
    z = difference / math.sqrt(variance)
    # Not 1 - cdf: that is 0 from z = 8 on.
    return TestResult(z, math.erfc(abs(z) / math.sqrt(2)))


def wilson_interval(arm: Arm, *, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a rate; 0 to 1 without visitors."""
    _check_between("confidence", confidence)
    if not arm.visitors:
        return Interval(0.0, 1.0)
    n, rate = arm.visitors, arm.rate
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    middle = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the edges the ends are exact, and rounding must not push them off.
    low = 0.0 if arm.conversions == 0 else (middle - half) / scale
    high = 1.0 if arm.conversions == n else (middle + half) / scale
    return Interval(low, high)


def sample_ratio_mismatch(visitors: Sequence[int], weights: Sequence[float] | None = None) -> TestResult:
    """Test whether visitors came to the arms in the proportions of ``weights`` (chi-square; the same by default).

    A p-value below 0.001 says that the split is broken and the test's result worth nothing. Raise InvalidArgumentError
    for fewer than two arms, weights that are not above 0 or not as many as arms.
    """
    wanted = [1.0] * len(visitors) if weights is None else list(weights)
    if len(visitors) < 2 or len(wanted) != len(visitors) or min(wanted) <= 0 or min(visitors) < 0:
        problem = f"are {list(visitors)} visitors by {wanted}: two or more arms, each with a weight above 0"
        raise InvalidArgumentError.of([Violation("arms", problem)])
    count, total = sum(visitors), math.fsum(wanted)
    if not count:
        return _NO_EVIDENCE
    expected = [count * weight / total for weight in wanted]
    chi2 = math.fsum((seen - of) ** 2 / of for seen, of in zip(visitors, expected, strict=True))
    return TestResult(chi2, chi_square_tail(chi2, len(visitors) - 1))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return the probability that chi-square with ``freedom`` (1 or more) degrees is above ``statistic``."""
    half = statistic / 2
    if half <= 0:
        return 1.0
    # For whole degrees the incomplete gamma function is a finite sum: from e^-h (even) or erfc (odd) upwards.
    tail = math.erfc(math.sqrt(half)) if freedom % 2 else math.exp(-half)
    shape = 0.5 if freedom % 2 else 1.0
    while shape < freedom / 2:
        tail += math.exp(shape * math.log(half) - half - math.lgamma(shape + 1))
        shape += 1
    return min(1.0, tail)


def sample_size(base_rate: float, wanted_rate: float, *, significance: float = 0.05, power: float = 0.8) -> int:
    """Return the visitors that each of two arms needs for the pooled z test to find the difference.

    Raise InvalidArgumentError for equal rates and for what is not between 0 and 1.
    """
    for name, value in (
        ("base_rate", base_rate),
        ("wanted_rate", wanted_rate),
        ("significance", significance),
        ("power", power),
    ):
        _check_between(name, value)
    if base_rate == wanted_rate:
        raise InvalidArgumentError.of([Violation("wanted_rate", f"is {wanted_rate}, must not be the base rate")])
    mean = (base_rate + wanted_rate) / 2
    apart = _NORMAL.inv_cdf(1 - significance / 2) * math.sqrt(2 * mean * (1 - mean))
    found = _NORMAL.inv_cdf(power) * math.sqrt(base_rate * (1 - base_rate) + wanted_rate * (1 - wanted_rate))
    return math.ceil(((apart + found) / (base_rate - wanted_rate)) ** 2)


def probability_b_beats_a(a: Arm, b: Arm) -> float:
    """Return P(rate of B > rate of A), both with a uniform prior: Beta(1, 1).

    A finite sum whose terms rise to one peak and fall: it is summed from the peak outwards until what is left does not
    count, about sqrt(conversions) terms.
    """
    a_won, a_lost = a.conversions + 1, a.visitors - a.conversions + 1
    b_won, b_lost = b.conversions + 1, b.visitors - b.conversions + 1
    lost = a_lost + b_lost

    def ratio(at: int) -> float:
        """Of the next term to this one."""
        return (b_lost + at) / (at + 1) * ((a_won + at) / (a_won + at + lost))

    peak = min(max((a_won * b_lost - a_won - lost) // (a_lost + 1), 0), b_won - 1)
    # The `peak`-th term: C(b_lost + peak - 1, peak) * B(a_won + peak, lost) / B(a_won, a_lost).
    top = math.exp(
        math.lgamma(b_lost + peak)
        - math.lgamma(peak + 1)
        - math.lgamma(b_lost)
        + _log_beta(a_won + peak, lost)
        - _log_beta(a_won, a_lost)
    )
    total = term = top
    for at in range(peak, b_won - 1):
        term *= ratio(at)
        total += term
        if term <= total * 1e-18:
            break
    term = top
    for at in range(peak - 1, -1, -1):
        term /= ratio(at)
        total += term
        if term <= total * 1e-18:
            break
    return min(1.0, total)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def always_valid_p(a: Arm, b: Arm, *, typical_difference: float = 0.01) -> float:
    """Return a p-value that stays valid however often one looks and whenever one stops (mixture sequential test).

    ``typical_difference`` is the absolute difference of rates that one would like to find, fixed before the test: it
    decides how fast the test is, not whether it is right. Raise InvalidArgumentError unless it is between 0 and 1.
    """
    _check_between("typical_difference", typical_difference)
    if not a.visitors or not b.visitors:
        return 1.0
    pooled = (a.conversions + b.conversions) / (a.visitors + b.visitors)
    variance = pooled * (1 - pooled) * (1 / a.visitors + 1 / b.visitors)
    if variance <= 0:
        return 1.0
    mixed = variance + typical_difference**2
    gain = (typical_difference * (b.rate - a.rate)) ** 2 / (2 * variance * mixed)
    return min(1.0, math.sqrt(mixed / variance) * math.exp(-gain))


def _check_between(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InvalidArgumentError.of([Violation(name, f"is {value}, must be above 0 and below 1")])
