"""Which redirects are followed."""

from types import SimpleNamespace

import httpx
import pytest

from polyglot_async._http.redirects import may_follow

FILE = SimpleNamespace(endpoint=SimpleNamespace(method="GET", accept="*/*"))
CALL = SimpleNamespace(endpoint=SimpleNamespace(method="GET", accept="application/json"))
START = SimpleNamespace(endpoint=SimpleNamespace(method="POST", accept="application/json"))


@pytest.mark.parametrize(
    ("request_", "status", "origin", "target", "expected"),
    [
        (FILE, 302, "https://a.example/x", "https://storage.example/x", True),
        (FILE, 302, "https://a.example/x", "http://storage.example/x", False),
        (FILE, 302, "https://a.example/x", "http://a.example/x", False),
        (FILE, 302, "http://localhost/x", "http://localhost:9000/x", True),
        (CALL, 302, "https://a.example/x", "https://a.example/y", True),
        (CALL, 302, "https://a.example/x", "https://b.example/x", False),
        (START, 307, "https://a.example/x", "https://a.example/y", True),
        (START, 302, "https://a.example/x", "https://a.example/y", False),
    ],
)
def test_media_may_lie_elsewhere_but_never_in_the_clear(request_, status, origin, target, expected):
    response = httpx.Response(status, request=httpx.Request("GET", origin))
    assert expected is may_follow(response, request_, httpx.URL(target))
