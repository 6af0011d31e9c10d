"""Between the contract's messages and ours: rules, and the work of applying them."""

from attribution_svc.conversions.orphans import OrphanSum
from attribution_svc.conversions.rules import DEFAULT_WORDS, Choice, Policy, Rules
from attribution_svc.conversions.ruling import RuleOperation, UnmappedWord
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import conversion_service_pb2 as pb

_CHOICES = {
    Choice.FIRST: pb.POLICY_CHOICE_FIRST,
    Choice.LAST: pb.POLICY_CHOICE_LAST,
    Choice.SUM: pb.POLICY_CHOICE_SUM,
    Choice.MAX: pb.POLICY_CHOICE_MAX,
    Choice.PER_EVENT: pb.POLICY_CHOICE_PER_EVENT,
}
_BY_NUMBER = {number: choice for choice, number in _CHOICES.items()}


def policy_from_pb(request: pb.SetConversionPolicyRequest) -> Policy | None:
    """Read a policy; None for none. Raise InvalidArgumentError."""
    if not request.HasField("policy"):
        return None
    violations = []
    if request.policy.choice not in _BY_NUMBER:
        violations.append(Violation("policy", f"is {request.policy.choice}, must be one of: {', '.join(Choice)}"))
    if request.policy.conversion_type not in ("", request.conversion_type):
        violations.append(Violation("policy.conversion_type", "is not the conversion type that is set"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return Policy(_BY_NUMBER[request.policy.choice], request.policy.lookback_days)


def policies_to_pb(rules: Rules) -> list[pb.ConversionPolicy]:
    """Write policies, by type."""
    return [
        pb.ConversionPolicy(conversion_type=name, choice=_CHOICES[policy.choice], lookback_days=policy.lookback_days)
        for name, policy in sorted(rules.policies.items())
    ]


def networks_to_pb(rules: Rules) -> list[pb.NetworkVocabulary]:
    """Write vocabularies, by network."""
    return [
        pb.NetworkVocabulary(
            network=network,
            words=[
                pb.StatusWord(word=word, status=status.value)
                for word, status in sorted(rules.vocabularies.get(network, {}).items())
            ],
            default_currency=rules.currencies.get(network, ""),
        )
        for network in sorted({*rules.vocabularies, *rules.currencies})
    ]


def defaults_to_pb() -> list[pb.StatusWord]:
    """Write what words mean to everybody."""
    return [pb.StatusWord(word=word, status=status.value) for word, status in sorted(DEFAULT_WORDS.items())]


def unmapped_to_pb(word: UnmappedWord) -> pb.UnmappedWord:
    """Write a word that nobody mapped."""
    return pb.UnmappedWord(network=word.network, word=word.word, event_count=word.event_count)


def operation_to_pb(operation: RuleOperation) -> pb.RuleOperation:
    """Write an operation."""
    return pb.RuleOperation(
        operation_id=operation.operation_id,
        state=operation.state,
        done_count=operation.done_count,
        total_count=operation.total_count,
        changed_count=operation.changed_count,
        create_time=timestamp_of(operation.create_time),
        end_time=timestamp_of(operation.end_time),
        rules_version=operation.rules_version,
    )


def orphan_sum_to_pb(found: OrphanSum) -> pb.OrphanSum:
    """Write what orphans of one reason come to."""
    return pb.OrphanSum(
        reason=found.reason,
        currency=found.currency,
        conversion_count=found.conversion_count,
        value_micros=found.value_micros,
    )
