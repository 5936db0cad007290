"""The service as respx answers for it, and clients of it that never wait."""

import pytest
import respx

from polyglot_async import AsyncPolyglot, Polyglot

KEY = "sk_test"


@pytest.fixture
def anyio_backend():
    """No backend: pytest-asyncio runs these tests, not anyio's plugin, which runs all others."""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("POLYGLOT_BASE_URL", raising=False)
    monkeypatch.setenv("POLYGLOT_API_KEY", KEY)


@pytest.fixture
def api():
    """Answers for the service at its default address; a request that no route expects fails the test."""
    with respx.mock(base_url="https://polyglotvoice.ru/api/v1", assert_all_called=False) as router:
        yield router


@pytest.fixture
def connect(api):
    """Makes async clients; without retries unless asked for."""
    return lambda **options: AsyncPolyglot(**{"max_retries": 0, **options})


@pytest.fixture
def connect_sync(api):
    """Makes sync clients; without retries unless asked for."""
    return lambda **options: Polyglot(**{"max_retries": 0, **options})
