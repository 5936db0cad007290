"""Answers in the contract's shape: errors are JSON with a `detail`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Sequence


class ApiError(Exception):
    """A refusal that becomes an answer: a status, a `detail` and perhaps seconds to wait."""

    def __init__(self, status: int, detail: Any, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after

    def response(self) -> JSONResponse:
        """Return the answer."""
        return error(self.status, self.detail, retry_after=self.retry_after)


def error(status: int, detail: Any, *, retry_after: float | None = None) -> JSONResponse:
    """Return `{"detail": ...}`, with a Retry-After in whole seconds, rounded up (A12)."""
    headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
    return JSONResponse({"detail": detail}, status, headers)


def invalid(*problems: tuple[Sequence[str], str]) -> ApiError:
    """Return a 422 that lists what is wrong and where (A15)."""
    detail = [{"loc": list(loc), "msg": msg, "type": "value_error"} for loc, msg in problems]
    return ApiError(422, detail)


def disposition(name: str) -> str:
    """Return a Content-Disposition that saves under `name` (RFC 6266: plain ASCII, and the true name beside it)."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%/' else "_" for char in name)
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
