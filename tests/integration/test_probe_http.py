"""The HTTP probes and the metrics page over real sockets: what is sent, what is bounded, what is followed."""

from __future__ import annotations

import errno
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import patience
from hostile_http import Hostile, hostile
from metrics_pages import NAMES
from turnback.adapters.notices.http import ask
from turnback.adapters.probes.fetch import Fetcher, shown
from turnback.adapters.probes.http_check import HttpCheck, HttpProbe, Synthetic
from turnback.adapters.probes.metrics_text import MetricsText
from turnback.core.watch.observation import MetricsReading
from turnback.errors import NoticeError, ProbeError


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
    assert 0.4 < time.monotonic() - began < patience.SECONDS
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


class Authority:
    """A CA of our own. `served` gives a TLS server's context for a name, or for a certificate that is over."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=ours",
                      "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
        self._openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=app",
            "-keyout",
            "key",
            "-out",
            "csr",
        )

    def served(self, name: str, *, expired: bool = False) -> ssl.SSLContext:
        (self.folder / "ext").write_text(f"subjectAltName=DNS:{name}")
        # One whose end was before its beginning is expired too, and needs no clock that is set.
        self._openssl("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-extfile", "ext", "-days", "-1" if expired else "2", "-out", "pem")  # fmt: skip
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.load_cert_chain(self.folder / "pem", self.folder / "key")
        return theirs

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: certificates are made with it")
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("known", "name", "expired", "said"),
    [
        (False, "localhost", False, "unable to get local issuer certificate"),
        (True, "localhost", True, "certificate has expired"),
        (True, "elsewhere", False, "certificate is not valid for 'localhost'"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_no_failure_of_the_application(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, known: bool, name: str, expired: bool, said: str
) -> None:
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    with hostile(authority.served(name, expired=expired)) as server:
        url = server.address.replace("http://127.0.0.1", "https://localhost") + "/ok"
        for probe in (HttpCheck("application", url, 10, 2), Synthetic(url, "GET", None, 200, 10, 2)):
            with pytest.raises(ProbeError, match="the certificate is not trusted") as caught:
                probe.observe()
            assert said in str(caught.value) and "SSL_CERT_FILE" in str(caught.value)
        health = HttpProbe(url, 2).check()  # the cutover waits, and says why in the end
        assert not health.ok and said in health.detail


def test_a_notice_that_meets_such_a_certificate_says_so(authority: Authority) -> None:
    with hostile(authority.served("localhost")) as server:
        url = server.address.replace("http://127.0.0.1", "https://localhost") + "/s3cret"
        with pytest.raises(NoticeError, match="the webhook: its certificate is not trusted") as caught:
            ask("the webhook", "POST", url, 2, body={})
    assert "SSL_CERT_FILE" in str(caught.value.hint) and "s3cret" not in str(caught.value)


def test_a_private_authority_is_trusted_where_it_is_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    with hostile(authority.served("localhost")) as server:
        url = server.address.replace("http://127.0.0.1", "https://localhost") + "/ok"
        assert HttpCheck("application", url, 10, 2).observe()["ok"]


def test_over_tls_the_deadline_counts(authority: Authority) -> None:
    trusted = ssl.create_default_context(cafile=str(authority.ca))
    with hostile(authority.served("localhost")) as server:
        address = server.address.replace("http://127.0.0.1", "https://localhost")
        assert Fetcher(address + "/ok", 2, 1000, trusted).fetch().body == b"fine"
        began = time.monotonic()
        with pytest.raises(ProbeError, match="no answer"):
            Fetcher(address + "/drip-headers", 0.5, 1000, trusted).fetch()
        assert time.monotonic() - began < patience.SECONDS


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (OSError(errno.EMFILE, "Too many open files"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), False),
        (OSError(errno.EADDRNOTAVAIL, "of ::1, where it is switched off"), False),
    ],
)
def test_what_fails_at_our_end_is_no_failure_of_the_application(
    monkeypatch: pytest.MonkeyPatch, error: OSError, ours: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", refuse)
    probe = HttpCheck("application", "http://app.invalid/ok", 10, 2)
    if ours:
        with pytest.raises(ProbeError, match="not asked: T"):
            probe.observe()
    else:
        assert probe.observe()["answered"] is False


@pytest.mark.parametrize(
    ("path", "behind"),
    [("/bad-gateway", False), ("/gateway-timeout", False), ("/sick", True), ("/login", True)],
)
def test_a_proxy_that_speaks_for_a_dead_application_is_no_answer_of_it(
    server: Hostile, path: str, behind: bool
) -> None:
    """Else a dead application behind nginx is a dead database after three checks of its other address."""
    seen = HttpCheck("application", server.address + path, 10, 2).observe()
    assert seen.get("answered", True) is behind and seen["ok"] is (path == "/login")


@pytest.mark.parametrize(("host", "name"), [("::1", "[::1]"), ("127.0.0.1", "app.invalid")])
def test_ipv6_and_a_name_that_is_ipv6_first(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    """The name has both addresses, and the application listens on the second."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError as e:
        pytest.skip(f"no IPv6 on this machine's loopback: {e}")
    port = listener.getsockname()[1]
    both = [(socket.AF_INET6, 1, 6, "", ("::1", port, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]
    if name == "app.invalid":
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with closing(listener):
        answering = threading.Thread(target=answer_once, args=(listener,))
        answering.start()
        seen = HttpCheck("application", f"http://{name}:{port}/ok", 10, 2).observe()
        assert seen["ok"], seen
        answering.join()


def answer_once(listener: socket.socket) -> None:
    listener.settimeout(5)
    client, _ = listener.accept()
    with client:
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
