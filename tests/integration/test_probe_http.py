"""The HTTP probes and the metrics page over real sockets: what is sent, what is bounded, what is followed."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_http import Hostile, hostile
from metrics_pages import NAMES
from turnback.adapters.probes.fetch import Fetcher, shown
from turnback.adapters.probes.http_check import HttpCheck, Synthetic
from turnback.adapters.probes.metrics_text import MetricsText
from turnback.core.watch.observation import MetricsReading
from turnback.errors import ProbeError


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    with hostile() as running:
        yield running


def metrics(server: Hostile, path: str, *, seconds: float = 2, most: int = 1 << 20) -> MetricsText:
    return MetricsText(server.address + path, NAMES, most, 10, seconds)


def test_a_synthetic_request_is_sent_as_it_is_configured(server: Hostile) -> None:
    server.seen.clear()
    for method, body in (("POST", '{"title": "ä"}'), ("PUT", "plain ä"), ("GET", None), ("POST", None)):
        value = Synthetic(server.address + "/echo?a=1", method, body, 200, 5, 2).observe()
        assert value["ok"] and value["detail"] == f"{method} {server.address}/echo: 200 OK"
    asked = [(line, text.lower()) for line, text in server.seen]
    assert [line for line, _ in asked] == [f"{m} /echo?a=1 HTTP/1.1" for m in ("POST", "PUT", "GET", "POST")]
    assert "content-type: application/json\r\n" in asked[0][1]
    assert server.seen[0][1].encode("latin-1").endswith('\r\n\r\n{"title": "ä"}'.encode())
    assert "content-type: text/plain; charset=utf-8\r\n" in asked[1][1]
    assert "content-type" not in asked[2][1] and "content-length" not in asked[2][1]
    assert "content-length: 0\r\n" in asked[3][1] and "content-type" not in asked[3][1]


@pytest.mark.parametrize(
    ("path", "expect", "ok", "said"),
    [
        ("/ok", 200, True, "200 OK"),
        ("/ok", 201, False, "200 OK, 201 was expected"),
        ("/sick", 503, True, "503 Service Unavailable"),
        (
            "/login",
            200,
            False,
            "302 Found, 200 was expected",
        ),  # nothing is followed: it is not what was asked
        ("/login", 302, True, "302 Found"),
        ("/garbage", 200, False, "no answer (RemoteProtocolError)"),
    ],
)
def test_the_one_status_that_is_expected(
    server: Hostile, path: str, expect: int, ok: bool, said: str
) -> None:
    value = Synthetic(server.address + path, "POST", "x", expect, 5, 2).observe()
    assert (value["ok"], value["detail"]) == (ok, f"POST {server.address}{path}: {said}")


def test_a_check_has_the_name_that_it_is_given(server: Hostile) -> None:
    check = HttpCheck("dependency:mail", server.address + "/sick", 10, 2)
    value = check.observe()
    assert check.name == "dependency:mail"
    assert (value["ok"], value["detail"]) == (False, f"GET {server.address}/sick: 503 Service Unavailable")


def test_a_page_of_either_format(server: Hostile) -> None:
    for path in ("/metrics", "/openmetrics", "/no-type"):
        found = MetricsReading.from_json(metrics(server, path).observe())
        assert sum(r.total for r in found.requests) == 46, path
    line, headers = server.seen[-1]
    assert line == "GET /no-type HTTP/1.1"
    assert (
        "accept: text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5"
        in headers.lower()
    )
    assert "accept-encoding: identity" in headers.lower()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/html", "answered text/html, that is no page of metrics"),
        ("/json", "answered application/json, that is no page of metrics"),
        ("/sick", "answered 503 Service Unavailable"),
        ("/login", "answered 302 Found"),
        ("/gzip", "answered compressed (gzip), which was not asked for"),
        ("/bomb", "answered compressed (gzip), which was not asked for"),
        ("/not-text", "not UTF-8"),
        ("/truncated", "no answer (RemoteProtocolError)"),
        ("/short", "the page is cut off: its last line has no end"),
        ("/garbage", "no answer (RemoteProtocolError)"),
        ("/endless", "more than 1048576 bytes"),
    ],
)
def test_what_is_no_page_of_metrics(server: Hostile, path: str, said: str) -> None:
    with pytest.raises(ProbeError) as caught:
        metrics(server, path).observe()
    assert str(caught.value) == f"{server.address}{path}: {said}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/silent", "no answer (ReadTimeout)"),
        ("/half", "no answer (ReadTimeout)"),
        ("/drip-headers", "no answer (ReadTimeout)"),
        ("/drip-body", "no whole answer within 0.5 s"),
        ("/endless", "no whole answer within 0.5 s"),
    ],
)
def test_the_whole_reading_ends_in_time(server: Hostile, path: str, said: str) -> None:
    """A byte every 20 ms never is a read that takes too long: only the whole has a deadline."""
    began = time.monotonic()
    with pytest.raises(ProbeError) as caught:
        metrics(server, path, seconds=0.5, most=1 << 40).observe()
    assert 0.4 < time.monotonic() - began < 4
    assert str(caught.value).endswith(said)


def test_gigabytes_are_not_kept(server: Hostile) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProbeError, match="more than 2000000 bytes"):
            metrics(server, "/endless", seconds=10, most=2_000_000).observe()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert shown("https://user:s3cret@host:8/metrics?token=s3cret#s3cret") == "https://host:8/metrics"


def test_user_and_password_of_an_address_are_sent_as_basic(server: Hostile) -> None:
    Fetcher.to(server.address.replace("//", "//us%40er:p%3Ass@") + "/ok", 2, 1000).fetch()
    assert "Authorization: Basic dXNAZXI6cDpzcw==" in server.seen[-1][1]


def test_over_tls_the_certificate_counts_and_so_does_the_deadline(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: a certificate is made with it")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    with hostile(theirs) as server:
        address = server.address.replace("http://127.0.0.1", "https://localhost")
        stranger = HttpCheck("application", address + "/ok", 10, 2).observe()
        assert not stranger["ok"] and stranger["detail"].endswith("no answer (ConnectError)")
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert Fetcher(address + "/ok", 2, 1000, trusted).fetch().body == b"fine"
        began = time.monotonic()
        with pytest.raises(ProbeError, match="no answer"):
            Fetcher(address + "/drip-headers", 0.5, 1000, trusted).fetch()
        assert time.monotonic() - began < 4
