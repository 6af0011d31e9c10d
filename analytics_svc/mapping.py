"""Parameter mappings: what an organisation's senders mean by their parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

FIELDS = (
    "click_id",
    "external_id",
    "placement",
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "cost",
    "payout",
    "currency",
    "transaction_id",
    "status",
    "source_campaign_id",
)
"""What a parameter can be: the canonical fields of ``enrichment.aliases``."""


@dataclass(frozen=True, slots=True)
class ActiveMapping:
    """The version of a mapping that holds, as the projection needs it."""

    mapping_id: str
    version: int
    source: str
    """Only events whose source by our own names is this one, in lower case; empty: of any source."""
    parameters: Mapping[str, str]
    """The parameter's name, in lower case, by field."""
    start_time: datetime | None = None
    """Only events received at or after this instant."""
    end_time: datetime | None = None
    """Only events received before this instant."""

    @property
    def label(self) -> str:
        """As a row names it: ``id/version``."""
        return f"{self.mapping_id}/{self.version}"
