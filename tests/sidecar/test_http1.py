"""Bytes into requests and replies into bytes: what is let in, and in which form."""

import pytest

from rolesanywhere_sidecar.serving import http1
from rolesanywhere_sidecar.serving.exchange import Ask, Headers, Reply
from rolesanywhere_sidecar.serving.http1 import MAX_HEAD, MAX_HEADERS, MAX_LINE, Malformed, Requests

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"


def read(sent: bytes, *, by: int | None = None) -> list[tuple[Ask, bool]]:
    """The requests in ``sent``, which arrives in pieces of ``by`` bytes."""
    requests, found = Requests(), []
    step = by or len(sent)
    for start in range(0, len(sent), step):
        requests.feed(sent[start : start + step])
        while request := requests.next():
            found.append((request.ask, request.is_last))
    return found


def refusal(sent: bytes, *, by: int | None = None) -> int:
    with pytest.raises(Malformed) as refused:
        read(sent, by=by)
    return refused.value.status


def test_a_request_is_read_as_it_was_sent() -> None:
    [(ask, is_last)] = read(b"GET //a%2F?q HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\n\r\n")
    assert (ask.method, ask.target) == ("GET", "//a%2F?q")
    assert dict(ask.headers) == {"host": "h", "x-y": "z"}
    assert not is_last


@pytest.mark.parametrize("by", [1, 2, 3, 7, 1000])
def test_it_makes_no_difference_how_the_bytes_come(by: int) -> None:
    sent = b"\r\n" + GET + b"\r\n" + GET.replace(b"/ ", b"/b ") + b"A: 1\r\n\r\n" + GET[:9]
    assert [ask.target for ask, _ in read(sent, by=by)] == ["/", "/b"]


@pytest.mark.parametrize(
    ("more", "is_last"),
    [
        (b"", False),
        (b"Connection: keep-alive\r\n", False),
        (b"Connection: Close\r\n", True),
        (b"Connection: upgrade, close\r\n", True),
        (b"Content-Length: 0\r\n", False),
        (b"Content-Length: 5\r\n", True),
        (b"Transfer-Encoding: chunked\r\n", True),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", True),
        (b"Expect: 100-continue\r\n", False),
        (b"Expect: 100-continue\r\nContent-Length: 9\r\n", True),
        (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n", False),
    ],
)
def test_a_body_or_the_clients_wish_makes_a_request_the_last(more: bytes, is_last: bool) -> None:
    [(_, last)] = read(GET + more + b"\r\n")
    assert last == is_last


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.0\r\n\r\n", b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"]
)
def test_http_1_0_and_connect_are_the_last(sent: bytes) -> None:
    [(_, is_last)] = read(sent)
    assert is_last


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b" GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: h\r\n\r\n", 400),
        (GET + b" folded: x\r\n\r\n", 400),
        (GET + b"A: x\r\n\tfolded\r\n\r\n", 400),
        (GET + b"A : x\r\n\r\n", 400),
        (GET + b"A: x\ny\r\n\r\n", 400),
        (GET + b"A: x\ry\r\n\r\n", 400),
        (GET + b"A: x\x00y\r\n\r\n", 400),
        (GET + b"no colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
        (GET + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (GET + b"Content-Length: -5\r\n\r\n", 400),
        (GET + b"Content-Length: 0x5\r\n\r\n", 400),
        (GET + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (GET + b"Expect: the-spanish-inquisition\r\n\r\n", 417),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505),
        (b"GET /" + b"a" * MAX_LINE + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (GET + b"A: " + b"a" * MAX_LINE + b"\r\n\r\n", 400),
        (GET + b"A: b\r\n" * MAX_HEADERS + b"\r\n", 400),
        (GET + (b"A: " + b"b" * 4000 + b"\r\n") * 5, 400),
        (GET + b"a" * MAX_HEAD, 400),
    ],
)
def test_what_is_no_request_here_has_a_status_however_it_comes(sent: bytes, status: int) -> None:
    assert refusal(sent) == status
    assert refusal(sent, by=1) == status


def test_as_many_headers_as_are_promised_are_read() -> None:
    [(ask, _)] = read(GET + b"".join(b"A%d: b\r\n" % n for n in range(MAX_HEADERS - 1)) + b"\r\n")
    assert len(ask.headers) == MAX_HEADERS


def test_a_head_without_end_is_refused_before_it_is_held() -> None:
    requests = Requests()

    def flood() -> None:
        for _ in range(MAX_HEAD):
            requests.feed(b"GETGET")
            requests.next()

    with pytest.raises(Malformed):
        flood()
    assert requests.waiting <= MAX_HEAD + 6


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    with pytest.raises(Malformed) as refused:
        read(GET + b"Authorization : s3cret\r\n\r\n")
    assert "s3cret" not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_headers_are_found_in_any_case_and_repeated_ones_are_neither() -> None:
    headers = Headers([("Authorization", "a"), ("AUTHORIZATION", "b"), ("Host", "h")])
    assert headers["authorization"] == headers.get("Authorization") == "a, b"
    assert "HOST" in headers
    assert "Origin" not in headers
    assert headers.get("Origin", "none") == "none"
    assert (sorted(headers), len(headers)) == (["authorization", "host"], 2)


def test_a_reply_is_written_with_its_length_in_bytes() -> None:
    reply = Reply(200, "é", "application/json", {"A": "b"})
    assert http1.written(reply, date=DATE, is_last=False) == (
        b"HTTP/1.1 200 OK\r\nServer: rolesanywhere\r\nCache-Control: no-store\r\n"
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nA: b\r\n"
        b"Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n\xc3\xa9"
    )


def test_head_has_the_length_and_not_the_body() -> None:
    head = http1.written(Reply(200, "abc"), date=DATE, is_last=True, to_head=True)
    assert b"Content-Length: 3\r\nConnection: close\r\n\r\n" in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("headers", [{"A": "b\r\nC: d"}, {"A\n": "b"}, {"A": "b\r"}])
def test_a_reply_cannot_smuggle_a_header(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        http1.written(Reply(200, headers=headers), date=DATE, is_last=False)


@pytest.mark.parametrize("status", [400, 417, 431, 500, 501, 505])
def test_a_refusal_is_empty_and_the_last(status: int) -> None:
    answer = http1.refused(status, date=DATE)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
