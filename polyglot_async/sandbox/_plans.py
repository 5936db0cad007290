"""What an account may do: the limits of a plan, and the document that tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Counting = Literal["sliding", "fixed", "bucket"]
USUAL_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits of one account; None is no limit.

    Attributes:
        name: as the documentation answers it.
        requests_per_minute: calls of one user in one window, whichever credential they carry.
        uploads_per_minute: those of them that start a task (upload and from-url).
        window_seconds: the length of the "minute"; tests make it short.
        counting: how the window is counted (A11: nobody knows how the service does it): the last `window_seconds`
            ("sliding"), windows aligned to the clock ("fixed"), or a bucket that refills evenly ("bucket").
        requests_per_day: requests made with any `sk_` key of the user, by UTC day, refused ones included.
        requests_per_month: likewise, by UTC month.
        max_concurrent_tasks: queued and processing tasks of one user.
        max_upload_bytes: size of one file.
        max_audio_seconds: length of one file.
    """

    name: str = "custom"
    requests_per_minute: int | None = None
    uploads_per_minute: int | None = None
    window_seconds: float = USUAL_WINDOW
    counting: Counting = "sliding"
    requests_per_day: int | None = None
    requests_per_month: int | None = None
    max_concurrent_tasks: int | None = None
    max_upload_bytes: int | None = None
    max_audio_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.counting not in {"sliding", "fixed", "bucket"}:
            raise ValueError(f"counting is sliding, fixed or bucket, not {self.counting!r}")
        if self.window_seconds <= 0:
            raise ValueError("window_seconds is a positive number")

    @classmethod
    def named(cls, name: str) -> Plan:
        """A ready plan: free, pro or unlimited."""
        try:
            return PLANS[name]
        except KeyError:
            raise ValueError(f"unknown plan {name!r}, known are {', '.join(PLANS)}") from None

    def rate_limits(self) -> dict[str, Any]:
        """The `rate_limits` of `GET /developer/documentation`, in the shape of A10."""
        burst: dict[str, Any] = {
            "requests_per_minute": self.requests_per_minute,
            "uploads_per_minute": self.uploads_per_minute,
        }
        if self.window_seconds != USUAL_WINDOW:
            burst["window_seconds"] = self.window_seconds
        return {
            "burst": burst,
            "api_keys": {
                "requests_per_day": self.requests_per_day,
                "requests_per_month": self.requests_per_month,
            },
            "plan": {
                "name": self.name,
                "max_concurrent_tasks": self.max_concurrent_tasks,
                "max_upload_bytes": self.max_upload_bytes,
                "max_audio_seconds": self.max_audio_seconds,
            },
        }


PLANS = {
    "free": Plan(
        name="free",
        requests_per_minute=20,
        uploads_per_minute=3,
        requests_per_day=200,
        requests_per_month=2_000,
        max_concurrent_tasks=1,
        max_upload_bytes=100 * 2**20,
        max_audio_seconds=1_800,
    ),
    "pro": Plan(
        name="pro",
        requests_per_minute=60,
        uploads_per_minute=10,
        requests_per_day=5_000,
        requests_per_month=100_000,
        max_concurrent_tasks=3,
        max_upload_bytes=2 * 2**30,
        max_audio_seconds=14_400,
    ),
    "unlimited": Plan(name="unlimited"),
}
