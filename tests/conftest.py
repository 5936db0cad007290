"""What all tests share: both event loops, and hypothesis that fails for bugs and not for a slow machine."""

import hypothesis
import pytest

hypothesis.settings.register_profile("polyglot", deadline=None, max_examples=100)
hypothesis.settings.load_profile("polyglot")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
