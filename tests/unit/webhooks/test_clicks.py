"""What macros and conditions may ask of a click."""

from attribution_svc.webhooks.clicks import MOST_PARAMS, click_of
from trellis.capture.v1 import event_pb2


def test_a_click_is_read_as_it_was_sent() -> None:
    event = event_pb2.Event(
        target=b"/in/summer_sale?utm_term=red+shoes&zone=z%201&zone=2&raw=%ff&utm_campaign=x&cost=0.5",
        headers=b"User-Agent: UA/1\r\nReferer: https://ads.example/page?q\r\nHost: t.example:8080\r\n",
        ip="192.0.2.7",
        host=b"T.Example:8080",
    )
    click = click_of(event)
    assert click.values == {
        "ip": "192.0.2.7",
        "user_agent": "UA/1",
        "referer": "https://ads.example/page?q",
        "referer_host": "ads.example",
        "host": "t.example",
        "slug": "summer_sale",
        "term": "red shoes",
        "campaign": "x",
        "cost": "0.5",
    }
    assert click.params == {
        "utm_term": "red shoes", "zone": "z 1", "raw": "�", "utm_campaign": "x", "cost": "0.5",
    }  # fmt: skip


def test_a_flood_of_parameters_is_bounded() -> None:
    target = b"/in/a?" + b"&".join(b"p%d=%s" % (at, b"x" * 5000) for at in range(1000))
    params = click_of(event_pb2.Event(target=target)).params
    assert len(params) == MOST_PARAMS
    assert max(map(len, params.values())) == 2048
