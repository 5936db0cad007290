"""What all tests share: both event loops, all cores, and hypothesis that fails for bugs and not for a slow machine."""

import signal

import hypothesis
import pytest

hypothesis.settings.register_profile("polyglot", deadline=None, max_examples=100)
hypothesis.settings.load_profile("polyglot")


def pytest_xdist_auto_num_workers(config):
    """The whole suite runs on all cores; chosen files run in one process, which starts sooner and can be debugged."""
    return None if config.args_source is config.ArgsSource.TESTPATHS else 0


def pytest_sessionstart():
    """Programs that are started here react to Ctrl-C, even where a shell began the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
