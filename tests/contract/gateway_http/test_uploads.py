"""CSV files of conversions: what becomes of every row, in any dialect, and what happens twice or not at all."""

import asyncio
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.gateway_http.wire import Response, connection, parse, request
from tests.contract.gateway_http.worker import PUBLISHABLE_KEY, READ_KEY, UPLOAD_KEY, Worker
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
PATH = "/api/v1/conversions:upload"
CSV = "Content-Type: text/csv"
FILE = b"click_id,status,payout,currency,order_id\r\nFb_1,sale,12.50,USD,ORD-1\r\nFb_2,lead,,,ORD-2\r\n"


async def send(
    worker: Worker, body: bytes, *headers: str, query: str = "", key: str = UPLOAD_KEY, content_type: str = CSV
) -> Response:
    return await worker.ask(
        request(PATH + query, f"Authorization: Bearer {key}", content_type, *headers, method="POST", body=body)
    )


async def taken(worker: Worker, body: bytes, *headers: str, **more: Any) -> dict[str, Any]:
    response = await send(worker, body, *headers, **more)
    assert response.status == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


async def events(worker: Worker, count: int) -> list[event_pb2.Event]:
    """Return the events on disk, of which there are so many."""
    found = await worker.events()
    assert len(found) == count
    return found


def refused(response: Response) -> dict[str, str]:
    return {one["field"]: one["description"] for one in json.loads(response.body)["violations"]}


async def test_every_row_becomes_an_event_as_a_postback_does(worker: Worker) -> None:
    answer = await taken(worker, FILE)
    assert (answer["rows"], answer["stored"], answer["refused"], answer["dry_run"]) == (2, 2, 0, False)
    assert answer["columns"] == ["click_id", "status", "payout", "currency", "order_id"]
    first, second = await events(worker, 2)
    assert [item["event_id"] for item in answer["items"]] == [first.event_id, second.event_id]
    assert (first.route, first.organization_id, first.external_click_id) == ("postback", "org_acmecorp", b"Fb_1")
    assert json.loads(first.body) == {
        "click_id": "Fb_1", "status": "sale", "payout": "12.50", "currency": "USD", "order_id": "ORD-1",
    }  # fmt: skip
    assert json.loads(second.body) == {"click_id": "Fb_2", "status": "lead", "order_id": "ORD-2"}
    assert (list(first.marks), first.item_index, bool(first.key_id)) == (["upload"], 1, True)
    assert UPLOAD_KEY.encode() not in first.SerializeToString()


@pytest.mark.parametrize(
    ("body", "encoding", "delimiter"),
    [
        (FILE.replace(b",", b";"), "utf-8", ";"),
        (FILE.replace(b",", b"\t"), "utf-8", "\t"),
        (FILE.replace(b",", b"|").replace(b"\r\n", b"\n"), "utf-8", "|"),
        (b"\xef\xbb\xbf" + FILE, "utf-8-sig", ","),
        (FILE.decode().encode("utf-16"), "utf-16", ","),
        (b"\n\n" + FILE + b"\n,,,,\n", "utf-8", ","),
        (gzip.compress(FILE), "utf-8", ","),
        (gzip.compress(FILE[:20]) + gzip.compress(FILE[20:]) + bytes(40_000), "utf-8", ","),
    ],
    ids=["semicolons", "tabs", "bars", "byte order mark", "UTF-16", "empty lines", "gzip file", "gzip in two"],
)
async def test_a_file_is_read_in_the_dialect_that_it_has(
    worker: Worker, body: bytes, encoding: str, delimiter: str
) -> None:
    answer = await taken(worker, body)
    assert (answer["encoding"], answer["delimiter"], answer["stored"]) == (encoding, delimiter, 2)
    first, _ = await events(worker, 2)
    assert (first.external_click_id, json.loads(first.body)["order_id"]) == (b"Fb_1", "ORD-1")


async def test_letters_of_an_old_spreadsheet_are_read(worker: Worker) -> None:
    answer = await taken(worker, "click_id;Käufer\nFb_1;Müller\n".encode("cp1252"))
    assert answer["encoding"] == "cp1252"
    (event,) = await events(worker, 1)
    assert json.loads(event.body) == {"click_id": "Fb_1", "Käufer": "Müller"}


async def test_values_in_quotes_hold_anything(worker: Worker) -> None:
    answer = await taken(worker, b'click_id,note\n"a,b","two\nlines ""quoted"""\nFb_2,plain\n')
    assert [(item["row"], item["line"]) for item in answer["items"]] == [(1, 3), (2, 4)]
    first, _ = await events(worker, 2)
    assert json.loads(first.body) == {"click_id": "a,b", "note": 'two\nlines "quoted"'}


@pytest.mark.parametrize(
    "disposition", ['name="file"; filename="sales.csv"', 'name="x"; filename="sales.csv"', 'name="file"']
)
async def test_a_form_may_carry_the_file(worker: Worker, disposition: str) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nnot it\r\n'
        b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\nContent-Type: text/csv\r\n\r\n"
        + FILE + b"\r\n--b--\r\n"
    )  # fmt: skip
    answer = await taken(worker, body, content_type="Content-Type: multipart/form-data; boundary=b")
    assert answer["stored"] == 2
    await events(worker, 2)


async def test_a_gzipped_body_is_unzipped(worker: Worker) -> None:
    assert (await taken(worker, gzip.compress(FILE), "Content-Encoding: gzip"))["stored"] == 2
    await events(worker, 2)


async def test_a_bad_row_is_told_and_spoils_no_other(worker: Worker) -> None:
    rows = [
        b"Fb_1,12.50,USD,2024-05-01T10:00:00Z,ORD-1",
        b"Fb_1,12.50",
        b"Fb_1,twelve,USD,,",
        b"Fb_1,1,XYZ,yesterday,",
        b",5,USD,,",
        b"Fb_1,5,USD,1999-01-01,",
        b"Fb_\0,5,USD,,",
        b"Fb_2,,,,",
    ]
    answer = await taken(worker, b"click_id,payout,currency,time,order_id\n" + b"\n".join(rows))
    assert (answer["rows"], answer["stored"], answer["refused"]) == (8, 2, 6)
    errors = {
        item["row"]: {one["field"]: one["description"] for one in item.get("errors", ())} for item in answer["items"]
    }
    assert errors == {
        1: {},
        2: {"row": "has 2 values, the header has 5 columns"},
        3: {"payout": "'twelve' is no amount, or more than 999999999999.999999"},
        4: {"currency": "'XYZ' is no ISO 4217 code", "time": "'yesterday' is no time, such as 2026-11-03T10:00:00Z"},
        5: {"row": "has neither a click id nor an order id"},
        6: {"time": "'1999-01-01' is before 2000 or in the future"},
        7: {"click_id": "must not hold the character NUL"},
        8: {},
    }
    assert [item["outcome"] for item in answer["items"]] == ["stored", *["refused"] * 6, "stored"]
    assert [event.item_index for event in await events(worker, 2)] == [1, 8]


async def test_a_dry_run_says_the_same_and_stores_nothing(worker: Worker) -> None:
    body = FILE + b"Fb_3,sale,much,USD,ORD-3\r\n"
    answer = await taken(worker, body, query="?dry_run=true")
    assert (answer["dry_run"], answer["stored"], answer["refused"]) == (True, 0, 1)
    assert [item["outcome"] for item in answer["items"]] == ["valid", "valid", "refused"]
    assert not await worker.events()


async def test_the_same_file_again_is_the_same_events(worker: Worker) -> None:
    twice = FILE + FILE.splitlines(keepends=True)[1]
    ids = [[item["event_id"] for item in (await taken(worker, twice))["items"]] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3, "a row that is there twice is two conversions"
    other = await taken(worker, twice + b"Fb_9,sale,1,USD,\r\n")
    assert not set(ids[0]) & {item["event_id"] for item in other["items"]}, "another file is another upload"
    await events(worker, 10)


async def test_a_corrected_file_under_the_same_name_adds_what_was_corrected(worker: Worker) -> None:
    first = await taken(worker, FILE, query="?upload_id=november")
    corrected = FILE.replace(b"Fb_2,lead,,,", b"Fb_2,sale,5,EUR,")
    second = await taken(worker, corrected, query="?upload_id=november")
    assert first["upload_id"] == "november"
    assert first["items"][0]["event_id"] == second["items"][0]["event_id"]
    assert first["items"][1]["event_id"] != second["items"][1]["event_id"]
    await events(worker, 4)


async def test_rows_of_a_corrected_file_may_move(worker: Worker) -> None:
    header, one, two = FILE.splitlines(keepends=True)
    first = await taken(worker, header + one + two + one, query="?upload_id=november")
    moved = await taken(worker, header + b"Fb_0,sale,1,USD,ORD-0\r\n" + one + one + two, query="?upload_id=november")
    before = [item["event_id"] for item in first["items"]]
    after = [item["event_id"] for item in moved["items"]]
    assert len(set(before)) == 3
    assert after[1:] == [before[0], before[2], before[1]]
    assert after[0] not in before


async def test_nobody_takes_the_id_of_a_row_before_it(worker: Worker) -> None:
    answer = await taken(worker, FILE, query="?upload_id=november")
    for event in await events(worker, 2):
        response = await worker.ask(
            request("/postback?click_id=Fb_1", f"Idempotency-Key: {event.idempotency_key.decode()}")
        )
        assert response.event_id not in ("", *(item["event_id"] for item in answer["items"]))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is empty: the first line must name the columns"),
        (b" \n\n", "is empty: the first line must name the columns"),
        (b"Fb_1,sale,12.50\n", "names no column of click or order ids"),
        (b"click_id,,x\n", "has no name for column 2"),
        (b"click_id,x,X\n", "has two columns named 'X'"),
        (b"click_id," + b",".join(b"c%d" % n for n in range(500)), "has 501 columns; the limit is 500"),
        (b"click_id" + b",aa" * 400_000, "has a row of more than 1048576 characters, the limit, at line 1"),
        (b'"' * 1_048_577, "has a row of more than 1048576 characters, the limit, at line 1"),
        (b"click_id\n" + b"aa," * 400_000, "has a row of more than 1048576 characters, the limit, at line 2"),
        (b"click_id,x\n" + b'"' + b'\n","' * 300_000, "has a row of more than 1048576 characters, the limit, at line "),
        (b"click_id,x\nFb_1," + b"x" * 140_000, "is no CSV at line 2: field larger than field limit (131072)"),
    ],
)
async def test_what_is_no_file_of_conversions_is_refused_whole(worker: Worker, body: bytes, problem: str) -> None:
    response = await send(worker, body)
    assert response.status == 400
    assert refused(response)["file"].startswith(problem)
    assert not await worker.events()


async def test_many_values_in_a_row_are_told_and_spoil_no_other(worker: Worker) -> None:
    row = b"aa," * 300_000 + b"\n"
    answer = await taken(worker, b"click_id\n" + row * 2 + b"Fb_1\n")
    assert [item["outcome"] for item in answer["items"]] == ["refused", "refused", "stored"]
    assert answer["items"][0]["errors"][0]["description"] == "has 300001 values, the header has 1 columns"


async def test_a_header_alone_is_a_file_of_nothing(worker: Worker) -> None:
    answer = await taken(worker, b"click_id,payout")
    assert (answer["rows"], answer["stored"], answer["items"]) == (0, 0, [])


@pytest.mark.parametrize("own_worker", [{"max_upload_bytes": 2048, "max_upload_rows": 5}], indirect=True)
async def test_limits_are_told(own_worker: Worker) -> None:
    rows = await send(own_worker, b"click_id\n" + b"a\n" * 6)
    assert (rows.status, json.loads(rows.body)["detail"]) == (413, "the file has more than 5 rows, the limit")
    size = await send(own_worker, b"click_id\n" + b"a\n" * 2000)
    assert (size.status, json.loads(size.body)["detail"]) == (413, "the file has more than 2048 bytes, the limit")
    bomb = await send(own_worker, gzip.compress(b"click_id\n" + b"a" * 100_000))
    assert (bomb.status, json.loads(bomb.body)["detail"]) == (413, "the file unzips to more than 2048 bytes, the limit")
    assert not await own_worker.events()


@pytest.mark.parametrize("body", [FILE, gzip.compress(FILE)], ids=["plain", "gzip"])
async def test_a_full_disk_is_told_and_no_fault_of_the_file(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: bytes
) -> None:
    files = [Path("/dev/full")] if body is FILE else [tmp_path / "first", Path("/dev/full")]
    opened = iter(files)
    monkeypatch.setattr("ingress_gateway.uploads.spool._temporary", lambda _: next(opened).open("w+b"))
    response = await send(worker, body)
    assert (response.status, json.loads(response.body)["reason"]) == (503, "UNAVAILABLE")
    assert response.header("Retry-After") == "30"
    assert not await worker.events()


async def test_what_is_not_gzip_as_it_says_is_refused(worker: Worker) -> None:
    broken = await send(worker, gzip.compress(FILE)[:-9])
    assert broken.status == 415
    many = await send(worker, gzip.compress(b"") * 1001 + gzip.compress(FILE))
    assert many.status == 415, "a member costs more than its few bytes say"
    other = await send(worker, FILE, "Content-Encoding: br")
    assert other.status == 415


async def test_a_form_without_a_file_is_refused(worker: Worker) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n--b--\r\n'
    response = await send(worker, body, content_type="Content-Type: multipart/form-data; boundary=b")
    assert refused(response) == {"body": "has no part that is a file"}


FORM = "Content-Type: multipart/form-data; boundary=b"
NOTE = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n%b\r\n'
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n%b\r\n--b--\r\n'


@pytest.mark.parametrize(
    "before",
    [NOTE % (b"x" * 70_000), NOTE % b"x" * 2000, b"x\r\n" * 30_000],
    ids=["a long part", "many parts", "a preamble"],
)
async def test_what_comes_before_the_file_is_bounded(worker: Worker, before: bytes) -> None:
    response = await send(worker, before + FILE_PART % FILE, content_type=FORM)
    assert response.status == 413
    assert json.loads(response.body)["detail"] == "the form has more than 65536 bytes before its file, the limit"


async def test_a_file_that_is_long_has_no_such_bound(worker: Worker) -> None:
    body = NOTE % (b"x" * 30_000) + FILE_PART % (b"click_id\n" + b"".join(b"Fb_%d\n" % n for n in range(20_000)))
    answer = await taken(worker, body, content_type=FORM, query="?dry_run=true")
    assert (answer["rows"], answer["refused"]) == (20_000, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n",
        b"--b\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b'--b\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n' + b"x" * 40 + b"\r\n--b--\r\n",
        b"no boundary",
    ],
    ids=["a long header", "many headers", "a long charset", "no boundary"],
)
async def test_a_form_that_is_broken_is_refused(worker: Worker, body: bytes) -> None:
    response = await send(worker, body, content_type=FORM)
    assert (response.status, json.loads(response.body)["reason"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("own_worker", [{"body_seconds": 0.5}], indirect=True)
async def test_a_form_that_comes_to_no_file_is_cut(own_worker: Worker) -> None:
    head = request(PATH, f"Authorization: Bearer {UPLOAD_KEY}", FORM, "Content-Length: 60000", method="POST")
    async with connection(own_worker.port) as held:
        await held.send(head)
        closed = asyncio.ensure_future(held.closed(seconds=10))
        for _ in range(20):
            await held.send(NOTE % b"x")
            if (await asyncio.wait([closed], timeout=0.2))[0]:
                break
        assert closed.done(), "each part was waited for anew"
        (response,), _ = parse(await closed)
    assert response.status == 504


@pytest.mark.parametrize(("key", "status"), [(PUBLISHABLE_KEY, 403), (READ_KEY, 403), ("wdn_sk_live_nobody", 401)])
async def test_only_a_key_that_may_write_conversions_uploads(worker: Worker, key: str, status: int) -> None:
    assert (await send(worker, FILE, key=key)).status == status
    assert not await worker.events()


async def test_questions_that_are_none_are_refused(worker: Worker) -> None:
    response = await send(worker, FILE, query=f"?dry_run=maybe&upload_id={'x' * 129}&rows=1")
    assert set(refused(response)) == {"dry_run", "upload_id", "rows"}


async def test_thousands_of_rows_are_on_disk_when_the_answer_comes(worker: Worker) -> None:
    body = b"click_id,payout\n" + b"".join(b"Fb_%d,%d.5\n" % (n, n) for n in range(5_000))
    answer = await taken(worker, body)
    assert answer["stored"] == 5_000
    assert [event.item_index for event in await events(worker, 5_000)] == list(range(1, 5_001))


async def test_an_organisation_uploads_two_files_at_a_time(worker: Worker) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: track.acmecorp.com\r\nAuthorization: Bearer {UPLOAD_KEY}\r\n"
        f"{CSV}\r\nContent-Length: {len(FILE)}\r\n\r\n"
    ).encode()
    slow = [await asyncio.open_connection("127.0.0.1", worker.port) for _ in range(2)]
    for _, writer in slow:
        writer.write(head + FILE[:20])
    await asyncio.sleep(0.2)
    third = await send(worker, FILE)
    assert (third.status, json.loads(third.body)["reason"]) == (429, "RATE_LIMITED")
    assert third.header("Retry-After") == "5"
    for reader, writer in slow:
        writer.write(FILE[20:])
        assert b" 200 " in await reader.readline()
        writer.close()
    assert (await taken(worker, FILE))["stored"] == 2


async def test_links_are_followed_while_a_file_is_taken(worker: Worker) -> None:
    body = b"click_id,payout\n" + b"".join(b"Fb_%d,%d.5\n" % (n, n) for n in range(20_000))
    upload = asyncio.create_task(taken(worker, body))
    slowest = 0.0
    while not upload.done():
        began = time.perf_counter()
        response = await worker.ask(request("/in/summer_sale"))
        slowest = max(slowest, time.perf_counter() - began)
        assert response.status == 302
        await asyncio.sleep(0.01)
    assert (await upload)["stored"] == 20_000
    # The loop is let go of every few rows; the bound is far from what it takes, for a machine that does other things.
    assert slowest < 0.5
