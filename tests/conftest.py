"""What all tests share: both event loops, all cores, and hypothesis that fails for bugs and not for a slow machine."""

import hypothesis
import pytest

hypothesis.settings.register_profile("polyglot", deadline=None, max_examples=100)
hypothesis.settings.load_profile("polyglot")


def pytest_xdist_auto_num_workers(config):
    """The whole suite runs on all cores; chosen files run in one process, which starts sooner and can be debugged."""
    return None if config.args_source is config.ArgsSource.TESTPATHS else 0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
