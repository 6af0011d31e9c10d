from datetime import UTC, datetime

from analytics_svc.retention import DEFAULT_DAYS, EVERYBODY, Retention

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def test_without_a_word_events_are_kept_for_seven_years() -> None:
    assert Retention().cuts(NOW) == {EVERYBODY: datetime(2019, 11, 20, tzinfo=UTC)}
    assert Retention().of("org_a") == DEFAULT_DAYS


def test_an_organisation_goes_before_everybody_and_everybody_before_the_setting() -> None:
    retention = Retention({"org_a": 30, EVERYBODY: 60}, default_days=90)
    assert (retention.of("org_a"), retention.of("org_b")) == (30, 60)
    assert Retention({"org_a": 30}, default_days=90).of("org_b") == 90


def test_whole_utc_days_are_kept_or_not() -> None:
    cuts = Retention({"org_a": 1}).cuts(NOW)
    assert cuts["org_a"] == datetime(2026, 11, 19, tzinfo=UTC)
