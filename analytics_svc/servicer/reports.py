"""Reports: time series, breakdowns and campaigns."""


class ReportMethods:
    """The RPCs of reports."""
