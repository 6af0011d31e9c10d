"""Splitting an integer amount so that the parts add up to it: the method of the largest remainder.

Each part is its exact quota rounded down; the units that are left go one each to the largest remainders, **ties to the
earlier one**. A part is never further than one unit from its quota. Everything is integer arithmetic: no amount is too
large. A negative amount is split as the positive one and negated, so a full refund is the exact negation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ONE = 1 << 52
"""The largest weight in fixed point: what a float holds exactly."""
_FEW = 8


def allocate(amount: int, weights: Sequence[int]) -> list[int]:
    """Split ``amount`` by ``weights``, which must be 0 or more and not all 0; raise ValueError otherwise."""
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"weights must be 0 or more and not all 0, they are {list(weights)[:20]}")
    return allocate_known(amount, weights, total)


def allocate_known(amount: int, weights: Sequence[int], total: int) -> list[int]:
    """Split as ``allocate`` does where ``total``, the sum of the weights, is known to be above 0; check nothing."""
    if amount < 0:
        return [-part for part in allocate_known(-amount, weights, total)]
    parts = [amount * weight // total for weight in weights]
    left = amount - sum(parts)
    if left:
        remainders = [amount * weight % total for weight in weights]
        if left < _FEW:
            # Nearly always: faster than to sort, and index() finds the earliest of equals.
            for _ in range(left):
                index = remainders.index(max(remainders))
                parts[index] += 1
                remainders[index] = -1
        else:
            for index in sorted(range(len(parts)), key=lambda at: -remainders[at])[:left]:
                parts[index] += 1
    return parts


@dataclass(frozen=True, slots=True)
class Step:
    """How one part of a split came about."""

    floor: int
    """The exact quota, rounded towards 0."""
    remainder: int
    """What that left, in units of one (sum of the weights)-th."""
    extra: int
    """The unit, with the amount's sign, that it got of what was left; 0 for none."""

    @property
    def part(self) -> int:
        """What ``allocate`` gives."""
        return self.floor + self.extra


def allocation_steps(amount: int, weights: Sequence[int]) -> list[Step]:
    """Say how ``allocate`` splits."""
    total, sign = sum(weights), -1 if amount < 0 else 1
    steps = []
    for weight, part in zip(weights, allocate(amount, weights), strict=True):
        floor, remainder = divmod(abs(amount) * weight, total)
        steps.append(Step(sign * floor, remainder, part - sign * floor))
    return steps


def fixed_point(weights: Sequence[float]) -> list[int]:
    """Return integer weights in the same proportions, the largest as 2**52. What is below 2**-53 of it becomes 0.

    Raise ValueError for what is negative, infinite or no number.
    """
    largest = max(weights, default=0.0)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError(f"weights must be finite and 0 or more, they are {list(weights)[:20]}")
    if largest == 0:
        return [0] * len(weights)
    return [round(weight / largest * _ONE) for weight in weights]


def in_units(parts: Sequence[int], unit: int) -> list[int]:
    """Round ``parts``, all of one sign, to multiples of ``unit`` (a cent is 10,000 micros) that add up.

    Their sum is the sum of the parts rounded to the unit, half to even: exact where the amount is whole units.
    """
    amount = sum(parts)
    if amount == 0:
        return [0] * len(parts)
    # Not round(amount / unit): a float holds no large amount exactly.
    whole, rest = divmod(abs(amount), unit)
    whole += 2 * rest > unit or (2 * rest == unit and whole % 2)
    split = allocate_known(whole, [abs(part) for part in parts], abs(amount))
    return [unit * part if amount > 0 else -unit * part for part in split]


def reverse(credited: Sequence[int], refund: int) -> list[int]:
    """Split a refund (0 or more) over what is still credited, as parts of the opposite sign that add up to it.

    A refund of all that is left gives its exact negation, however many partial ones came before; a part never takes
    more than the touch has, unless the refund is more than everybody has. Raise ValueError where nothing is credited
    or the refund is negative.
    """
    if refund < 0:
        raise ValueError(f"a refund is 0 or more, it is {refund}")
    sign = 1 if sum(credited) < 0 else -1
    return allocate(sign * refund, [abs(part) for part in credited])
