"""Logs hold no secret."""

import pytest

from svc_runtime.logs import REDACTED, redact


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "Bearer x"),
        ("cookie", "_tl_v=usr_1"),
        ("set_cookie", "a=b"),
        ("mesh_secret", "abc"),
        ("key_pepper", "abc"),
        ("body", "{}"),
        ("access_token", "abc"),
    ],
)
def test_a_field_with_a_secret_name_is_redacted(name: str, value: str) -> None:
    assert redact(None, "info", {name: value})[name] == REDACTED


def test_a_secret_key_inside_any_text_is_cut() -> None:
    event = redact(None, "info", {"event": "refused wdn_sk_live_abc123 of Bearer abc.def", "status": 401})
    assert "abc123" not in event["event"]
    assert "abc.def" not in event["event"]
    assert event["status"] == 401


@pytest.mark.parametrize("key", ["wdn_pt%5Fabc123", "wdn%5fpt_abc123", "wdn%5Fsk%5flive_abc123"])
def test_a_secret_key_is_cut_as_it_stands_in_a_url(key: str) -> None:
    event = redact(None, "info", {"path": f"/postback/{key}"})
    assert event["path"] == f"/postback/{REDACTED}"


def test_ordinary_fields_stay() -> None:
    assert redact(None, "info", {"key_id": "k1", "event": "listening"}) == {"key_id": "k1", "event": "listening"}
