"""System programs that some tests compare with: implementations that are not ours."""

import os
import shutil

import pytest


def require_program(name: str, how_to_get_it: str) -> str:
    """Return the path of a program; without it skip the test, or fail it where `CI` is set."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is not None:
        return path
    message = f"{name} is not installed: {how_to_get_it}"
    if os.environ.get("CI"):
        pytest.fail(f"{message} (it is not skipped, because CI is set)", pytrace=False)
    pytest.skip(message)
