"""Settings of the BigQuery mirror: the part ``bigquery`` of the service's settings (``CAPTURE_BIGQUERY_…``)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BigQuerySettings(BaseModel):
    """Where the mirror is and how much it carries at once. Off until ``project`` is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str = ""
    """Google Cloud project of the table and of the load jobs. Empty: no mirror."""
    dataset: str = Field(default="trellis", pattern="^[A-Za-z0-9_]+$", max_length=1024)
    """Dataset of the table. It must exist: where data lives is the operator's decision, not ours."""
    table: str = Field(default="events", pattern="^[A-Za-z0-9_]+$", max_length=1024)
    """Table; created when it is missing. Another name starts another mirror, from the first event on."""
    location: str = ""
    """Location of the dataset, for example ``EU``. Empty: what the table says."""
    api_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Another endpoint: ``https://`` with the default credentials, ``http://`` (an emulator) with none at all."""
    compression: Literal["gzip", "none"] = "gzip"
    """How the rows travel. ``none`` is for emulators that read plain text only."""
    max_rows: int = Field(default=200_000, ge=1, le=5_000_000)
    """Most rows of one load job."""
    max_bytes: int = Field(default=64 * 2**20, ge=2**10, le=2**30)
    """Most bytes of one load job, uncompressed, give or take one page of the feed; this bounds the mirror's memory."""
    max_seconds: float = Field(default=60.0, ge=0, le=3600)
    """Least time between two load jobs while the mirror keeps up. 60 s is 1,440 jobs a day: BigQuery's quota for one
    table is 1,500. A mirror that is behind does not wait."""
    longest_retry_seconds: float = Field(default=300.0, gt=0, le=3600)
    """Longest wait between two tries while BigQuery or the store is down."""

    @model_validator(mode="after")
    def _endpoint_needs_a_project(self) -> "BigQuerySettings":
        if self.api_endpoint and not self.project:
            raise ValueError("api_endpoint without project: the mirror would be off")
        return self

    @property
    def is_on(self) -> bool:
        """Whether there is a mirror."""
        return bool(self.project)

    @property
    def name(self) -> str:
        """Name of this mirror: its state is kept under it."""
        return f"bigquery:{self.project}.{self.dataset}.{self.table}"
