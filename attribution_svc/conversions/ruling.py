"""Changing how an organisation's conversions are read, over history too."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from attribution_svc.conversions.rules import ALL_TYPES, Policy, Rules
from enrichment.currencies import MINOR_DIGITS
from enrichment.status import Status
from svc_runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError, Violation
from svc_runtime.tasks import keep_running

MOST_POLICIES = 1_000
MOST_NETWORKS = 500
MOST_WORDS = 1_000
"""Of one network."""
LONGEST_TYPE = 128
LONGEST_WORD = 256
LONGEST_LOOKBACK_DAYS = 3_650
MEANINGS = (Status.LEAD, Status.SALE, Status.REJECTED, Status.REFUNDED)
"""What a word may be mapped to."""
_IDLE_SECONDS = 1.0
_GROUPS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in one version."""

    version: int
    """0 before the first."""
    rules: Rules


@dataclass(frozen=True, slots=True)
class RuleOperation:
    """Making conversions anew under other rules: it goes through all orders of an organisation."""

    operation_id: str
    organization_id: str
    rules_version: int
    state: str
    """`running`, `done`, or `superseded` by a later change, which goes through all orders itself."""
    done_count: int
    """Orders that it has gone through; an event without one is one of its own."""
    total_count: int
    """As far as known when it began; nobody counts very many."""
    changed_count: int
    """Conversions that are another than before."""
    create_time: datetime
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class UnmappedWord:
    """A status that nobody mapped."""

    network: str
    word: str
    """As it was sent."""
    event_count: int


class RuleStore(Protocol):
    """The rules of all organisations, and what is left to do for them. Raises UnavailableError as all stores do."""

    async def rules(self, organization_id: str) -> RuleSet:
        """Return the rules that hold."""
        ...

    async def change_rules(
        self, organization_id: str, change: Callable[[Rules], Rules], *, operation_id: str, actor: str
    ) -> tuple[RuleSet, RuleOperation | None]:
        """Let what ``change`` makes of the rules hold, and begin an operation over history in the place of one that
        runs. When it makes them what they are, nothing is written and there is no operation.
        """
        ...

    async def operations(self, organization_id: str, *, limit: int) -> list[RuleOperation]:
        """Return the last operations, the newest first."""
        ...

    async def advance(self, *, group_count: int) -> RuleOperation | None:
        """Go through up to so many orders of the oldest operation that runs, fewer where they are large, all or
        nothing; return it as it stands then.

        None when none runs. Whoever is killed goes on where the last call ended.
        """
        ...

    async def unmapped(self, organization_id: str, *, limit: int) -> list[UnmappedWord]:
        """Return words that no status is known for by everybody's vocabulary, the most frequent first."""
        ...


class Ruling:
    """What a caller of one organisation may do with its rules."""

    def __init__(self, store: RuleStore) -> None:
        self._store = store
        self._changed = asyncio.Event()
        self._group_count = _GROUPS_AT_ONCE

    async def run(self) -> None:
        """Apply changed rules to history, for ever."""
        await keep_running("conversion rules", self._work)

    async def advance(self) -> RuleOperation | None:
        """Apply changed rules to a piece of history, half as much after a failure: it may have been too much at once.

        None when there is nothing to do. Raise UnavailableError.
        """
        try:
            operation = await self._store.advance(group_count=self._group_count)
        except UnavailableError:
            self._group_count = max(self._group_count // 2, 1)
            raise
        self._group_count = min(self._group_count + self._group_count // 4 + 1, _GROUPS_AT_ONCE)
        return operation

    async def rules(self, organization_id: str) -> RuleSet:
        """Return the rules that hold."""
        return await self._store.rules(organization_id)

    async def operations(self, organization_id: str) -> list[RuleOperation]:
        """Return the last operations, the newest first."""
        return await self._store.operations(organization_id, limit=10)

    async def unmapped(self, organization_id: str) -> list[UnmappedWord]:
        """Return words that somebody should map."""
        own = (await self._store.rules(organization_id)).rules.vocabularies
        found = await self._store.unmapped(organization_id, limit=1_000)
        return [told for told in found if not _knows(own, told)]

    async def set_policy(
        self, conversion_type: str, policy: Policy | None, *, organization_id: str, actor: str
    ) -> tuple[RuleSet, RuleOperation | None]:
        """Set the policy of a conversion type, or take it away.

        Raise InvalidArgumentError, NotFoundError (nothing to take away) or UnavailableError.
        """
        name = conversion_type.strip().lower()
        violations = []
        if not 1 <= len(name.encode()) <= LONGEST_TYPE:
            violations.append(
                Violation("conversion_type", f"has {len(name.encode())} bytes, must have 1 to {LONGEST_TYPE}")
            )
        if policy and not 1 <= policy.lookback_days <= LONGEST_LOOKBACK_DAYS:
            violations.append(
                Violation("lookback_days", f"is {policy.lookback_days}, must be 1 to {LONGEST_LOOKBACK_DAYS}")
            )
        if violations:
            raise InvalidArgumentError.of(violations)

        def change(rules: Rules) -> Rules:
            policies = {known: kept for known, kept in rules.policies.items() if known != name}
            if policy is None and name not in rules.policies:
                raise NotFoundError(f"no policy of the conversion type {name!r}")
            if policy is not None:
                policies[name] = policy
            if len(policies) > MOST_POLICIES:
                text = f"is one more than {MOST_POLICIES}, the most: set {ALL_TYPES} for all others"
                raise InvalidArgumentError.of([Violation("conversion_type", text)])
            return replace(rules, policies=policies)

        return await self._change(organization_id, change, actor)

    async def set_words(
        self,
        network: str,
        words: Sequence[tuple[str, str]],
        *,
        default_currency: str = "",
        organization_id: str,
        actor: str,
    ) -> tuple[RuleSet, RuleOperation | None]:
        """Set what a network's words for a status mean, and its amounts without a currency; none takes them away.

        Raise InvalidArgumentError or UnavailableError.
        """
        name = network.strip().lower()
        own = _words(name, words, default_currency)

        def change(rules: Rules) -> Rules:
            vocabularies = {known: kept for known, kept in rules.vocabularies.items() if known != name}
            if own:
                vocabularies[name] = own
            if len({*vocabularies, *rules.currencies, name}) > MOST_NETWORKS:
                text = f"is one more than {MOST_NETWORKS}, the most"
                raise InvalidArgumentError.of([Violation("network", text)])
            currencies = {known: kept for known, kept in rules.currencies.items() if known != name}
            if default_currency:
                currencies[name] = default_currency
            return replace(rules, vocabularies=vocabularies, currencies=currencies)

        return await self._change(organization_id, change, actor)

    async def _change(
        self, organization_id: str, change: Callable[[Rules], Rules], actor: str
    ) -> tuple[RuleSet, RuleOperation | None]:
        made = await self._store.change_rules(organization_id, change, operation_id=f"op_{uuid4().hex}", actor=actor)
        self._changed.set()
        return made

    async def _work(self) -> None:
        while True:
            if await self.advance() is not None:
                continue
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()


def _words(network: str, words: Sequence[tuple[str, str]], default_currency: str) -> dict[str, Status]:
    """Read a vocabulary; raise InvalidArgumentError with everything that is wrong."""
    violations = []
    if len(network.encode()) > LONGEST_WORD:
        violations.append(Violation("network", f"has {len(network.encode())} bytes, must have at most {LONGEST_WORD}"))
    if default_currency and default_currency not in MINOR_DIGITS:
        text = f"is {default_currency[:64]!r}, must be a code of ISO 4217, for example EUR"
        violations.append(Violation("default_currency", text))
    if len(words) > MOST_WORDS:
        violations.append(Violation("words", f"are {len(words)}, must be at most {MOST_WORDS}"))
    own: dict[str, Status] = {}
    for index, (word, meaning) in enumerate(words[:MOST_WORDS]):
        folded = word.strip().lower()
        if not 1 <= len(folded.encode()) <= LONGEST_WORD or "," in folded:
            text = f"is {word[:64]!r}, must be 1 to {LONGEST_WORD} bytes without a comma"
            violations.append(Violation(f"words[{index}].word", text))
        if meaning not in MEANINGS:
            text = f"is {meaning[:64]!r}, must be one of: {', '.join(MEANINGS)}"
            violations.append(Violation(f"words[{index}].status", text))
        elif own.setdefault(folded, Status(meaning)) != meaning:
            violations.append(Violation(f"words[{index}].word", f"{word[:64]!r} has two meanings"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return own


def _knows(own: Mapping[str, Mapping[str, Status]], told: UnmappedWord) -> bool:
    words = {**own.get("", {}), **own.get(told.network, {})}
    return told.word.strip().lower() in words
