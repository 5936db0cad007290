"""Every error of httpx becomes one of ours, and what no repetition mends says what to change."""

import inspect
import pickle
import socket
import ssl
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    BadRequestError,
    PolyglotError,
    ResponseDecodeError,
    ServerError,
)
from polyglot_async._http.httpx_errors import explained, proxy_variable, status_error, translate

REQUEST = httpx.Request("POST", "https://user:password@a.example/v1/upload?token=secret")
EVERY = sorted(
    {cls for _, cls in inspect.getmembers(httpx, inspect.isclass) if issubclass(cls, httpx.HTTPError)}
    - {httpx.HTTPStatusError},  # see `status_error`
    key=lambda cls: cls.__name__,
)
NOT_CONNECTED = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
TIMEOUTS = {"ConnectTimeout", "PoolTimeout", "ReadTimeout", "WriteTimeout", "TimeoutException"}
PROXIES = [f"{name}_{word}" for name in ("http", "https", "all") for word in ("proxy",)]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def because(cause, cls=httpx.ConnectError):
    """An error of httpx as httpcore's chain makes it."""
    try:
        try:
            raise OSError("all attempts failed") from cause
        except OSError as middle:
            raise cls("all attempts failed") from middle
    except cls as error:
        return error


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("body_complete", [True, False], ids=["whole", "half"])
def test_no_error_of_httpx_stays_one(cls, body_complete):
    error = translate(cls("it broke"), REQUEST, body_complete=body_complete)

    assert isinstance(error, PolyglotError)
    assert ("POST", "https://a.example/v1/upload") == (error.method, error.url)
    assert "secret" not in str(error)
    assert "password@" not in str(error)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize("body_complete", [True, False], ids=["whole", "half"])
@pytest.mark.parametrize(
    "cls",
    [cls for cls in EVERY if cls is not httpx.DecodingError],
    ids=lambda cls: cls.__name__,
)
def test_what_found_no_connection_sent_nothing_and_half_a_body_neither(cls, body_complete):
    error = translate(cls("it broke"), REQUEST, body_complete=body_complete)

    connected = cls.__name__ not in NOT_CONNECTED
    assert (connected, connected and body_complete) == (error.connected, error.maybe_sent)
    assert (cls.__name__ in TIMEOUTS) == isinstance(error, ApiTimeoutError)


def test_an_error_status_of_an_event_hook_is_that_of_its_status():
    """A date in `Retry-After` is compared with the clock that was handed in."""
    now = datetime(2026, 5, 24, 12, 0, tzinfo=UTC)
    answer = httpx.Response(503, headers={"retry-after": "Sun, 24 May 2026 12:00:07 GMT"})
    error = status_error(httpx.HTTPStatusError("no", request=REQUEST, response=answer), REQUEST, now)

    assert (ServerError, 503, 7.0) == (type(error), error.status_code, error.retry_after)
    assert ("POST", "https://a.example/v1/upload") == (error.method, error.url)
    assert "secret" not in str(error)


def test_a_body_in_a_broken_encoding_cannot_be_read():
    assert isinstance(translate(httpx.DecodingError("it broke"), REQUEST, body_complete=True), ResponseDecodeError)


@pytest.mark.parametrize("cls", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectTimeout])
@pytest.mark.parametrize("cause", [ConnectionRefusedError("refused"), ConnectionResetError("reset"), ssl.SSLEOFError()])
def test_what_passes_may_be_tried_again(cls, cause):
    assert not translate(because(cause, cls), REQUEST, body_complete=False).permanent


# -- what no repetition mends


def certificate_error():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def tls_error(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


def unknown_host(errno=socket.EAI_NONAME):
    return socket.gaierror(errno, "Name or service not known")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (certificate_error(), r"certificate of a\.example is not trusted \(self-signed certificate\): .*SSL_CERT_FILE"),
        (
            ssl.SSLCertVerificationError("made by Python"),
            r"certificate of a\.example is not trusted \(.*made by Python",
        ),
        (unknown_host(), r"the host a\.example is unknown: check base_url and the network"),
        (unknown_host(socket.EAI_AGAIN), r"the host a\.example is unknown: check base_url"),
        (
            tls_error("WRONG_VERSION_NUMBER"),
            r"a\.example does not speak TLS on this port: check the scheme and the port",
        ),
        (ExceptionGroup("both addresses", [OSError("v6"), unknown_host()]), r"the host a\.example is unknown"),
    ],
    ids=["certificate", "bare certificate", "unknown host", "no name server", "no TLS", "happy eyeballs"],
)
def test_what_no_repetition_mends_says_what_to_change(cause, words):
    error = translate(because(cause), REQUEST, body_complete=False)

    assert (True, False, False) == (error.permanent, error.connected, error.maybe_sent)
    with pytest.raises(ApiConnectionError, match=words):
        raise error


def test_a_name_server_that_fails_for_a_host_that_has_answered_is_a_passing_trouble():
    """Without a network some systems answer as for a host that is not there."""
    for error in (because(unknown_host(socket.EAI_AGAIN)), because(unknown_host())):
        assert not translate(error, REQUEST, body_complete=False, reached_before=True).permanent
        assert translate(error, REQUEST, body_complete=False, reached_before=False).permanent


def test_what_cannot_be_written_as_http_says_where_to_look():
    error = translate(httpx.LocalProtocolError("it broke"), REQUEST, body_complete=False)
    assert "check api_key, names and extra headers" in str(error)
    assert error.permanent


def test_a_protocol_error_after_the_whole_body_is_a_lost_answer():
    """It was sent, so it may have been accepted, whatever went wrong then."""
    error = translate(httpx.LocalProtocolError("it broke"), REQUEST, body_complete=True)
    assert (False, True) == (error.permanent, error.maybe_sent)


def test_a_scheme_that_nothing_speaks_is_one_of_base_url():
    error = translate(httpx.UnsupportedProtocol("it broke"), REQUEST, body_complete=False)
    assert error.permanent
    assert "check base_url" in str(error)


@pytest.mark.parametrize("words", ["407 Proxy Authentication Required", "407", "Invalid username/password"])
@pytest.mark.parametrize(
    ("variable", "shown"),
    [("https_proxy", "https_proxy"), ("HTTPS_PROXY", "HTTPS_PROXY"), ("ALL_PROXY", "ALL_PROXY"),
     ("HTTP_PROXY", "its settings"), (None, "its settings")],
)  # fmt: skip
def test_a_proxy_that_wants_a_password_names_the_variable(monkeypatch, words, variable, shown):
    if variable:
        monkeypatch.setenv(variable, "http://proxy.example:3128")
    error = translate(httpx.ProxyError(words), REQUEST, body_complete=False)

    assert error.permanent
    assert f"the proxy wants a user name and password: check {shown}" in str(error)


@pytest.mark.parametrize(
    "words", ["502 Bad Gateway", "503 Service Unavailable", "no answer on port 4070", "TTL expired"]
)
def test_a_proxy_that_fails_otherwise_may_be_tried_again(words):
    error = translate(httpx.ProxyError(words), REQUEST, body_complete=False)
    assert (False, False) == (error.permanent, error.connected)


def test_a_407_of_a_plain_proxy_names_the_variable_too(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    error = explained(BadRequestError("GET http://a.example: 407", status_code=407), "http")
    assert str(error).endswith("407; the proxy wants a user name and password: check http_proxy")
    assert str(error) == str(pickle.loads(pickle.dumps(error)))


def test_where_there_is_no_upload_the_message_names_base_url():
    """Also where an event hook of the caller's own client has raised the status."""
    request = httpx.Request("POST", "https://a.example/v2/transcriptions/upload")
    hooked = httpx.HTTPStatusError("404", request=request, response=httpx.Response(404, request=request))

    assert str(status_error(hooked, request, datetime.now(UTC))).endswith("check base_url")
    other = ApiStatusError("GET https://a.example/v2/transcriptions/t1: 404", status_code=404, method="GET")
    assert "base_url" not in str(explained(other, "https"))


@given(st.sampled_from(["http", "https"]), st.lists(st.sampled_from(PROXIES), unique=True), st.booleans())
def test_the_variable_of_a_proxy_is_one_that_is_set_and_fits(scheme, names, upper):
    with pytest.MonkeyPatch.context() as environment:
        for name in names:
            environment.setenv(name.upper() if upper else name, "http://proxy.example")
        found = proxy_variable(scheme)

    fitting = {name for name in names if name in {f"{scheme}_proxy", "all_proxy"}}
    assert (found.lower() if found else None) in (fitting or {None})


def test_an_empty_variable_sets_no_proxy(monkeypatch):
    monkeypatch.setenv("https_proxy", "")
    assert proxy_variable("https") is None


def test_errors_that_point_at_each_other_end():
    one, other = httpx.ConnectError("a"), OSError("b")
    one.__cause__, other.__cause__ = other, one
    assert not translate(one, REQUEST, body_complete=False).permanent
