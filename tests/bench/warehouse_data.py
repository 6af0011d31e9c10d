"""A reading of millions of events, made by the engine itself; and questions typed straight into that engine.

``python -m tests.bench.warehouse_data make DIRECTORY EVENTS`` makes one; it takes a few minutes for 20 million.
``python -m tests.bench.warehouse_data ask DIRECTORY ROUNDS`` reads a statement from its input, runs it so many times
and prints the seconds of each as JSON.

Sixteen events belong together: in most cases those of one visitor, in five visits over some days; one group in sixteen
is sixteen visitors who came once. Sources, campaigns, countries and the rest are skewed as traffic is: few have most.
"""

import hashlib
import json
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from analytics_svc.store import rollups
from analytics_svc.store.clickhouse import MIGRATIONS
from analytics_svc.store.connect import open_client
from svc_runtime.clickhouse import Dsn, parse_dsn, use_spool
from svc_runtime.clickhouse_migrations import statements
from svc_runtime.migrations import read_migrations

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

LARGE, SMALL = "org_large", "org_small"
SMALL_EVENT_COUNT = 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_COUNT = 90
END = START + timedelta(days=DAY_COUNT)
_GROUP = 16
_CHUNK = 1_000_000
_DONE = "made.json"

# Of each column: the expression over `n` (the number of the event), `g` (its group), `k` (its place there), `v` (its
# visitor), `s` (its visit) and `r(salt)`, a number from 0 to 1 that is the event's, the visit's or the visitor's own.
_COLUMNS = {
    "organization_id": "{organization:String}",
    "event_id": "reinterpretAsUUID(sipHash128(n, {organization:String}))",
    "event_time": "fromUnixTimestamp64Milli(at_ms, 'UTC')",
    "event_type": "type",
    "route": "if(type = 'click', 'in', 'events')",
    "click_id": "substring(hex(sipHash128(n, 6)), 1, 22)",
    "external_click_id": "concat('x', hex(sipHash64(n, 7)))",
    "user_id": "concat('usr_', toString(v))",
    "session_id": "concat('ses_', hex(sipHash64(v, s)))",
    "source": "src",
    "medium": "med",
    "channel": "multiIf(med = 'cpc', 'paid_social', med = 'organic', 'organic_search', med)",
    "traffic_rule": "'tagged'",
    "campaign": "camp",
    "campaign_id": "if(camp = '', '', concat('cmp_', camp))",
    "campaign_version": "1",
    "content": "concat('creative ', toString(toUInt32(pow({r}(n, 20), 2) * 1000)))",
    "placement": "zone",
    "country": "arrayElement(['US','DE','GB','FR','CA','IN','BR','ES','IT','PL','NL','MX','JP','AU','SE','AT','CH'],"
    " 1 + toUInt32(pow({r}(v, 21), 3) * 17))",
    "region": "concat('region ', toString(toUInt32(pow({r}(v, 21), 3) * 200)))",
    "city": "concat('city ', toString(toUInt32(pow({r}(v, 21), 3) * 2000)))",
    "asn": "1000 + toUInt32(pow({r}(v, 22), 3) * 3000)",
    "device_type": "multiIf(device_at < 0.62, 'mobile', device_at < 0.7, 'tablet', device_at < 0.99, 'desktop', 'tv')",
    "device": "if(device_at < 0.7, concat('model ', toString(toUInt32(device_at * 500))), '')",
    "os": "multiIf(device_at < 0.35, 'iOS', device_at < 0.7, 'Android', device_at < 0.9, 'Windows', 'macOS')",
    "os_version": "toString(10 + toUInt32({r}(v, 23) * 8))",
    "browser": "arrayElement(['Safari', 'Chrome', 'Firefox', 'Edge', 'Opera'], 1 + toUInt32(pow({r}(v, 24), 2) * 5))",
    "browser_version": "toString(100 + toUInt32({r}(v, 25) * 40))",
    "language": "arrayElement(['en', 'de', 'fr', 'es', 'pt', 'it', 'pl'], 1 + toUInt32(pow({r}(v, 26), 2) * 7))",
    "is_bot": "bot",
    "bot_reasons": "if(bot = 1, ['user_agent'], [])",
    "scheme": "'https'",
    "host": "'track.example.com'",
    "path": "page",
    "url": "concat('https://track.example.com', page, '?source=', src, '&zoneid=', zone, '&click_id=',"
    " hex(sipHash64(n, 7)))",
    "referer": "if(med = 'direct', '', concat('https://www.', src, '.example/', toString(s)))",
    "referer_host": "if(med = 'direct', '', concat('www.', src, '.example'))",
    "user_agent": "concat('Mozilla/5.0 (agent ', toString(toUInt32({r}(v, 27) * 5000)), ') AppleWebKit/605.1.15')",
    "ip": "IPv4NumToString(toUInt32(167772160 + v % 16777216))",
    "params": "mapConcat(map('source', src, 'click_id', hex(sipHash64(n, 7)), 'zoneid', zone,"
    " 'creative', toString(toUInt32(pow({r}(n, 20), 2) * 1000)), 'sub1', toString(v % 997)),"
    " if({r}(n, 28) < 0.6, map('utm_campaign', camp, 'utm_medium', med), map()),"
    " if({r}(n, 29) < 0.3, map('p7', toString(n % 64)), map()))",
    "headers": "map('accept-language', 'en-US,en;q=0.9', 'user-agent', concat('Mozilla/5.0 (agent ',"
    " toString(toUInt32({r}(v, 27) * 5000)), ') AppleWebKit/605.1.15'))",
    "conversion_event": "if(sold, 'purchase', '')",
    "conversion_status": "if(sold, 'sale', '')",
    "is_conversion": "sold",
    "value": "if(sold, 5 + toDecimal64(toUInt32(pow({r}(n, 30), 4) * 40000), 6) / 100, NULL)",
    "currency": "if(sold, if({r}(n, 31) < 0.9, 'USD', 'EUR'), '')",
    "order_id": "if(sold, concat('ORD-', toString(n)), '')",
    "enrichment_version": "1",
}
_WITH = """
    intDiv(n, {group}) AS g, toUInt8(n % {group}) AS k, {r}(g, 1) < 1 / 16 AS is_bounce,
    if(is_bounce, 1000000000 + n, g) AS v, if(is_bounce, 0, intDiv(k, 3)) AS s,
    toInt64({start_ms}) + (
        toInt64(g / {groups} * {days_ms}) + toInt64(s * pow({r}(sipHash64(v, s), 2), 2) * 259200000) + s * 3600000
            + if(is_bounce, k, k % 3) * 41000 + toInt64({r}(n, 3) * 40000)
    ) % {days_ms} AS at_ms,
    arrayElement(
        ['facebook', 'google', 'tiktok', 'direct', 'newsletter', 'bing', 'instagram', 'taboola', 'outbrain', 'reddit',
         'pinterest', 'snapchat', 'linkedin', 'x', 'quora', 'criteo', 'one', 'two', 'three', 'four'],
        1 + toUInt32(pow({r}(sipHash64(v, s), 4), 3) * 20)
    ) AS src,
    multiIf(src IN ('google', 'bing'), 'organic', src = 'direct', 'direct', src = 'newsletter', 'email', 'cpc') AS med,
    {r}(sipHash64(v, s), 5) AS camp_at,
    if(camp_at < 0.2, '', concat('campaign_', toString(toUInt32(pow((camp_at - 0.2) / 0.8, 3) * 60)))) AS camp,
    concat('zone ', toString(toUInt32(pow({r}(n, 6), 3) * 300))) AS zone,
    concat('/in/', camp, '/', toString(toUInt32(pow({r}(n, 7), 3) * 500))) AS page,
    {r}(v, 8) AS device_at, toUInt8({r}(v, 9) < 0.04) AS bot, {r}(n, 10) AS type_at,
    multiIf(
        type_at < 0.72, 'click', type_at < 0.9, 'pageview', type_at < 0.97, 'add_to_cart', 'purchase'
    ) AS type,
    toUInt8(type = 'purchase') AS sold
"""


def make(directory: Path, event_count: int) -> None:
    """Make the reading; a directory that is done already is left as it is."""
    if (directory / _DONE).exists():
        return
    if directory.exists():
        # What somebody began and did not end.
        shutil.rmtree(directory)
    began = time.monotonic()
    dsn = dsn_of(directory)
    use_spool(dsn)
    client = migrated(dsn)
    try:
        for organization_id, count in ((LARGE, event_count), (SMALL, SMALL_EVENT_COUNT)):
            insert(client, organization_id, count)
            _say(f"{organization_id}: {count:,} events", began)
        for first in range(0, DAY_COUNT, 6):
            day, end = START + timedelta(days=first), min(START + timedelta(days=first + 6), END)
            rollups.add(client, "events", f"event_time >= '{day:%F}' AND event_time < '{end:%F}'")
        _say("roll-ups", began)
        for table in ("events", *rollups.ROWS):
            client.command(f"OPTIMIZE TABLE {table} FINAL")
        _say("merged", began)
        (directory / _DONE).write_text(json.dumps({"seconds": time.monotonic() - began, **_size(client)}) + "\n")
    finally:
        client.close()


def made(directory: Path) -> dict[str, float]:
    """Return what is known of a reading that is done."""
    found: dict[str, float] = json.loads((directory / _DONE).read_text())
    return found


def place(root: Path, event_count: int) -> Path:
    """Return where a reading of that size lives: another one whenever its tables or its making change."""
    texts = [migration.sql for migration in read_migrations(MIGRATIONS)] + [Path(__file__).read_text()]
    texts.append(Path(rollups.__file__).read_text())
    return root / f"warehouse-{event_count}-{hashlib.sha256(''.join(texts).encode()).hexdigest()[:12]}"


def dsn_of(directory: Path) -> Dsn:
    """Return the DSN of the reading."""
    return parse_dsn(f"chdb://{directory}", default_database="analytics")


def ask(directory: Path, sql: str, round_count: int) -> list[float]:
    """Run a statement in the engine, without anything of ours; return the seconds of each time."""
    client = open_client(dsn_of(directory))
    try:
        seconds = []
        for _ in range(round_count + 1):
            began = time.monotonic()
            client.raw_query(sql, fmt="JSONCompactEachRow")
            seconds.append(time.monotonic() - began)
        # The first one warms up.
        return seconds[1:]
    finally:
        client.close()


def migrated(dsn: Dsn) -> "Client":
    setup = open_client(parse_dsn(f"chdb://{dsn.path}", default_database="default"))
    setup.command(f"CREATE DATABASE IF NOT EXISTS {dsn.database}")
    setup.close()
    client = open_client(dsn)
    for migration in read_migrations(MIGRATIONS):
        for statement in statements(migration.sql):
            client.command(statement)
    return client


def insert(client: "Client", organization_id: str, count: int) -> None:
    """Make the events of an organisation."""
    for first in range(0, count, _CHUNK):
        _insert(client, organization_id, first, min(_CHUNK, count - first), count)


def _insert(client: "Client", organization_id: str, first: int, count: int, total: int) -> None:
    def filled(text: str) -> str:
        values = {
            "{group}": str(_GROUP),
            "{groups}": str(max(1, total // _GROUP)),
            "{start_ms}": str(int(START.timestamp() * 1000)),
            "{days_ms}": str(DAY_COUNT * 86_400_000),
            "{r}": "random_at",
        }
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    columns = ",\n    ".join(f"{filled(expression)} AS `_{name}`" for name, expression in _COLUMNS.items())
    names = ", ".join(f"`{name}`" for name in _COLUMNS)
    sql = f"""
INSERT INTO events ({names})
WITH (x, salt) -> (sipHash64(x, salt) % 1000000) / 1000000 AS random_at,
{filled(_WITH)}
SELECT {columns}
FROM (SELECT number + {first} AS n FROM numbers({count}))
"""
    client.command(sql, parameters={"organization": organization_id}, settings={"max_insert_threads": "2"})


def _size(client: "Client") -> dict[str, float]:
    query = "SELECT count(), uniq(user_id), sum(is_conversion) FROM events"
    events, visitors, conversions = client.query(query).result_rows[0]
    on_disk = client.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active").result_rows[0][0]
    return {"events": events, "visitors": visitors, "conversions": conversions, "disk_mib": on_disk / 1024**2}


def _say(what: str, began: float) -> None:
    print(f"  {time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", directory, count]:
            make(Path(directory), int(count))
        case ["ask", directory, rounds]:
            print(json.dumps(ask(Path(directory), sys.stdin.read(), int(rounds))))
        case _:
            raise SystemExit(__doc__)
