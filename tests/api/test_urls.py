"""Media URLs: which text is one, and what of one may be shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import MediaError
from polyglot_async._api.urls import bare_url, clean_url, is_media_url


@pytest.mark.parametrize("url", ["https://host/a.mp3", "http://host", "HTTPS://host/a.mp3", "  hTTp://host/a \n"])
def test_a_url_is_known_in_any_case_and_with_space_around_it(url):
    assert is_media_url(url)
    assert clean_url(url) == url.strip()[:5].lower() + url.strip()[5:]


@pytest.mark.parametrize(
    "value",
    ["talk.mp3", "", "ftp://host/a", "http:/host", "file:///a", "a https://host", b"https://host", None, 5,
     Path("https://host/a"), "https", "://host"],
)  # fmt: skip
def test_anything_else_is_no_url(value):
    assert not is_media_url(value)
    with pytest.raises(MediaError, match="is not an http or https URL"):
        clean_url(value)


@pytest.mark.parametrize(
    "url", ["http://", "https:///a", "http://[::1", "http://host:99999/", "http://host:x/", "http://?"]
)
def test_a_url_without_a_usable_host_is_a_media_error(url):
    with pytest.raises(MediaError, match="is not an http or https URL"):
        clean_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:password@host/a.mp3?sig=secret#secret", "https://host/a.mp3"),
        ("https://user@host:8080/a.mp3", "https://host:8080/a.mp3"),
        ("https://user:pass@word@host/a", "https://host/a"),
        ("https://user:pass/word@host/a?sig=secret", "https://host/a"),
        ("https://user:pass?word@host/a", "https://host/a"),
        ("https://user:pass#word@host/a", "https://host/a"),
        ("https://host?sig=secret", "https://host"),
        ("https://host/@name/a.mp3?mail=a@b", "https://host/@name/a.mp3"),
        ("https://[::1]:80/a?x", "https://[::1]:80/a"),
        ("HTTPS://HOST/a", "HTTPS://HOST/a"),
        ("ftp://user:password@host/a", "ftp://host/a"),
        (" https://user:password@host/a", "https://host/a"),
        ("talk?.mp3", "talk?.mp3"),
        ("C:/talks/talk#1.mp3", "C:/talks/talk#1.mp3"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_user_password_and_query(url, expected):
    assert expected == bare_url(url)


@given(st.text())
def test_any_text_has_a_bare_form(text):
    assert bare_url(bare_url(text)) == bare_url(text)


@given(
    user=st.text(st.characters(exclude_characters="@/?#", exclude_categories=["Cs"]), max_size=9),
    host=st.from_regex("[a-z]{1,9}", fullmatch=True),
)
def test_no_user_is_ever_shown(user, host):
    assert f"https://{host}/a" == bare_url(f"https://{user}secret@{host}/a?secret")
