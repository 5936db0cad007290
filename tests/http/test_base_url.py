"""Base URLs, and whether a credential may be sent there."""

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyglot_async import ConfigurationError
from polyglot_async._http.base_url import DEFAULT_BASE_URL, checked_base_url, is_loopback

pieces = st.lists(
    st.sampled_from(
        ["http", "https", "://", ":", "//", "/", "@", "?", "#", "[", "]", "::1", "localhost", "127.0.0.1", "host.ru",
         ".", "..", ":8000", ":99999", " ", "\n", "\t", "\\", "%41", "user:secret", "xn--", "пример", "ß", "②", "\x00"]
    )
    | st.text(max_size=3),
    max_size=8,
).map("".join)  # fmt: skip


@example("https://xn--0")
@given(st.text() | pieces | pieces.map("https://".__add__) | pieces.map("https://host".__add__))
def test_any_string_is_refused_or_is_a_url_that_httpx_reads_the_same_way(text):
    try:
        url = checked_base_url(text, allow_insecure_http=True)
    except ConfigurationError:
        return
    asked = httpx.URL(f"{url}/transcriptions")

    assert asked.scheme in {"http", "https"}
    assert asked.host
    assert b"" == asked.userinfo == asked.query
    assert "" == asked.fragment
    assert asked.path.endswith("/transcriptions")
    assert not url.endswith("/")
    assert url == checked_base_url(url, allow_insecure_http=True)


@given(pieces.map("http://".__add__))
def test_plain_http_goes_to_this_machine_alone(text):
    try:
        url = checked_base_url(text)
    except ConfigurationError:
        return

    assert is_loopback(httpx.URL(url).host)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEFAULT_BASE_URL, DEFAULT_BASE_URL),
        ("https://host/api/v1/", "https://host/api/v1"),
        (" https://host//\n", "https://host"),
        ("HTTPS://Host:8443/a", "HTTPS://Host:8443/a"),
        ("https://пример.рф/api", "https://пример.рф/api"),
        ("https://xn--e1afmkfd.xn--p1ai", "https://xn--e1afmkfd.xn--p1ai"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8000/api/v1", "http://localhost:8000/api/v1"),
        ("http://api.localhost", "http://api.localhost"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_good_urls_are_taken_without_their_last_slash(text, expected):
    assert expected == checked_base_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "host", "host/api", "//host", "ftp://host", "https://", "https:///api", "https:host", "file:///etc",
        "https://a..b", f"https://{'a' * 64}.ru", "https://ho st", "https://ho\nst", "https://host/a b", "https://h\\x",
        "https://host:port", "https://host:99999", "https://[::1", "https://[::1]x", "https://[host]", "https://::1",
        "https://host?", "https://host/?a=b", "https://host#", "https://host/#a", "https://@host", "https://u@host",
        "https://:p@host", "https://%2e", "https://②.ru", "https://host\x00", "https://\udc80",
    ],
)  # fmt: skip
def test_what_is_no_base_url_is_a_configuration_error(text):
    with pytest.raises(ConfigurationError):
        checked_base_url(text)


@pytest.mark.parametrize("value", [None, 5, b"https://host", httpx.URL("https://host")])
def test_what_is_no_string_is_a_configuration_error(value):
    with pytest.raises(ConfigurationError, match="must be a string"):
        checked_base_url(value)


@pytest.mark.parametrize(
    "text",
    ["http://host", "http://localhost.evil.ru", "http://127.0.0.1.evil.ru", "http://evil.ru\\.localhost",
     "http://10.0.0.1", "http://0.0.0.0", "http://[::2]", "http://127.0.0.1@evil.ru"],
)  # fmt: skip
def test_plain_http_to_another_machine_is_refused(text):
    with pytest.raises(ConfigurationError):
        checked_base_url(text)


def test_plain_http_to_another_machine_may_be_allowed():
    assert "http://10.0.0.1:8000" == checked_base_url("http://10.0.0.1:8000/", allow_insecure_http=True)


@pytest.mark.parametrize(
    "text",
    ["https://user:secret@host", "https://user:secret@host:99999", "user:secret@host", "https://user:secret@[bad",
     "ftp://secret@host", "https://host?token=secret", "https://host:99999?token=secret", "//host#secret"],
)  # fmt: skip
def test_no_message_shows_what_may_be_secret(text):
    with pytest.raises(ConfigurationError) as caught:
        checked_base_url(text)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("host/api", DEFAULT_BASE_URL),
        ("", DEFAULT_BASE_URL),
        (5, DEFAULT_BASE_URL),
        ("http://host", "use https"),
        ("https://u:p@host", "api_key"),
        ("https://host?a=b", "remove all from"),
        ("https://host#a", "remove all from"),
    ],
)
def test_each_message_states_what_to_do(text, advice):
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        checked_base_url(text)

    assert advice in str(caught.value)
