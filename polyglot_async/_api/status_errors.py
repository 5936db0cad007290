"""How an answer becomes an exception: the class of an error status, and a message that says who answered what.

| status | error |
|---|---|
| 401, 403, 404 and 410, 429 | AuthenticationError, PermissionDeniedError, NotFoundError, RateLimitError |
| 403 that speaks of concurrent tasks, on a call that starts work (A13) | RateLimitError |
| 403, 413 or 429 that speaks of the file's size or length | BadRequestError: this file will never be accepted |
| every other 4xx; 5xx; else | BadRequestError; ServerError; ApiStatusError |

Nothing that a server echoes puts a credential into a message: see `scrub`.
"""

from __future__ import annotations

import html
import json
import math
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from .._errors import (
    ApiStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)
from .messages import KEPT_BODY_BYTES, ApiResponse, as_utf8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_CLASSES: Mapping[int, type[ApiStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
}
# Patterns are texts, which `re` compiles when one is first used and keeps: most programs never see an error.
# The service is a Russian one, and may speak Russian.
_LIMIT_WORDS = (
    ("concurrency", r"concurren|simultaneous|parallel|at once|in flight|одновременн|параллельн"),
    ("daily", r"\bdaily\b|\bday\b|сутк|суток|дневн"),
    ("monthly", r"\bmonth|месяц|месячн"),
    ("burst", r"minute|burst|second|too many|\brate|минут|секунд|слишком много"),
)
# A file is refused if a sentence speaks of a file, of too much, and of a measure of files ...
_FILE_WORDS = (
    r"file|audio|video|media|recording|upload|payload|entity|body|duration|length|size|\b[kmg]i?b\b|"
    r"файл|аудио|видео|запис|размер|длительност|продолжительност|длин"
)
_TOO_MUCH_WORDS = (
    r"too (?:large|long|big)|(?:larger|longer|bigger|more|greater|shorter|smaller) than|exceed|over the|per file|"
    r"maximum|\bmax\b|limit|at most|up to|allow|"
    r"слишком (?:больш|длинн|велик)|превы|больше|длиннее|максим|не более|лимит"
)
_MEASURE_WORDS = (
    r"duration|length|\bsize\b|\blong\b|too (?:large|big)|larger|longer|shorter|bigger|smaller|per file|bytes|"
    r"\d\s*[kmg]i?b\b|(?:exceed|maximum|max|limit|than)[^.]{0,40}\d\s*(?:min|hour|sec|h\b)|"
    r"слишком (?:больш|длинн|велик)|размер|длительност|продолжительност|длин"
)
# ... and not of a limit by time or by number, which passes.
_PASSING_WORDS = (
    r"requests\b|request (?:rate|limit|count)|quota|per (?:second|minute|hour|day|month)|/ ?(?:s|min|hour|day|month)\b|"
    r"hourly|daily|monthly|today|\bday\b|\bmonth|\brate\b|queue|backlog|too many|took|time[ds]? ?out|"
    r"concurren|simultaneous|parallel|at once|"
    r"запросов|квот|в (?:минуту|час|день|сутки|месяц)|суточн|дневн|месячн|одновременн|очеред"
)

_SECRETS = (
    # sk_ keys and JWTs wherever they stand, whatever follows `Bearer` or `Authorization:`, and a URL's password.
    (r"\bsk_[A-Za-z0-9_\-]+", "sk_***"),
    (r"\beyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?", "***"),
    (
        (
            r"(?i)(\bbearer(?:\s|\\u0020|%20|\+)+)(?!(?:tokens?|auth\w*|schemes?|credentials?|keys?|realm\w*|headers?|is|"
            r"was|are|or|and|not|must|required|missing|invalid|error\w*|format|type|value)\b|sk_\*)[^\s\"'<>,;\\]+"
        ),
        r"\1***",
    ),
    (
        r"(?i)(authorization[\"']*\s*[:=]\s*[\"']*(?:(?:bearer|basic|token|digest|apikey)\s+)?)(?!\*|sk_\*)[^\s\"'<>,;}\\]+",
        r"\1***",
    ),
    (r"(?i)(\b[a-z][a-z0-9+.\-]{1,20}://)[^/\s\"'<>@]+@", r"\1***@"),
)
_URL_QUERY = r"(?i)(\bhttps?://[^\s\"'<>?#]+)\?[^\s\"'<>]*"
_TITLE = r"(?is)<title\b[^>]{0,200}>(.{0,500}?)</title"
_MARKUP = r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>"
_FIRST_WORDS = 120
_ADVICE = "check base_url, and whether a proxy or a sign-in page answers"
_READ_CHARACTERS = 8192


def error_of(response: ApiResponse, now: datetime, *, billable: bool = False) -> ApiStatusError:
    """Return the exception for an answer that is no success; `billable` where the call starts work."""
    detail, is_json = _read_body(response.body)
    words = (detail or "").lower()
    limit = next((name for name, pattern in _LIMIT_WORDS if re.search(pattern, words)), None)
    status = response.status_code
    cls = _class_of(status, words, limit, billable=billable)
    shown = re.sub(rf"^{status}\s*[-:]?\s*", "", detail or "")  # many proxies' titles begin with the status
    notes = [] if is_json else _who_answered(response)
    if response.request_id:
        notes.append(f"request {response.request_id}")
    message = f"{response.method} {response.url}: {status}" + (f" {shown}" if shown else "") + _in_brackets(notes)
    if cls is AuthenticationError:
        message += "; check api_key or POLYGLOT_API_KEY: an sk_ key is valid for 30 days"
    error = cls(
        scrub(message),
        status_code=status,
        detail=detail,
        request_id=response.request_id,
        retry_after=retry_after_seconds(response.headers, now),
        body=_scrubbed_body(response.body),
        method=response.method,
        url=response.url,
    )
    if isinstance(error, RateLimitError):
        error.limit = limit
    return error


def _class_of(status: int, words: str, limit: str | None, *, billable: bool) -> type[ApiStatusError]:
    if status >= 500:  # noqa: PLR2004
        return ServerError
    if status < 400:  # noqa: PLR2004
        return ApiStatusError  # a redirect that cannot be followed
    if status == 403 and billable and limit == "concurrency":  # noqa: PLR2004 - A13
        return RateLimitError
    refused = re.search(_FILE_WORDS, words) and re.search(_TOO_MUCH_WORDS, words) and re.search(_MEASURE_WORDS, words)
    if status in {403, 413, 429} and refused and not re.search(_PASSING_WORDS, words):
        return BadRequestError
    return _CLASSES.get(status, BadRequestError)


def decode_error(
    response: ApiResponse, problem: str | None, *, kind: str | None = None, advice: str = _ADVICE
) -> ResponseDecodeError:
    """Return the error for an answer that cannot be read.

    Args:
        response: the answer.
        problem: what is wrong with its JSON; None if it is no JSON.
        kind: what came in place of a file, such as "a message"; None where JSON was asked for.
        advice: what to do about it.
    """
    if problem is not None:
        what = f"the answer cannot be read: {problem}"
    elif kind is None and not response.body.strip():
        what = f"the answer is empty{_in_brackets(_who_answered(response))}"
    else:
        detail, _ = _read_body(response.body)
        kind = kind or ("a web page" if response.is_html else "no JSON")
        what = f"the answer is {kind}" + (f', "{detail:.{_FIRST_WORDS}}"' if detail else "")
        what += f"{_in_brackets(_who_answered(response))}; {advice}"
    return ResponseDecodeError(
        scrub(f"{response.method} {response.url}: {response.status_code}, but {what}"),
        status_code=response.status_code,
        body=_scrubbed_body(response.body),
        method=response.method,
        url=response.url,
        request_id=response.request_id,
    )


def _who_answered(response: ApiResponse) -> list[str]:
    """Return the content type and the Server of an answer that is not the service's JSON."""
    content_type, server = response.headers.get("content-type"), response.headers.get("server")
    notes = [content_type] if content_type else []
    return [*notes, f"Server: {server}"] if server else notes


def _in_brackets(notes: Sequence[str]) -> str:
    return f" ({_shortened(', '.join(notes))})" if notes else ""


def readable_detail(body: bytes) -> str | None:
    """Return an error body as one readable line, or None: its `detail`, a page's title, or its first words."""
    return _read_body(body)[0]


def _read_body(body: bytes) -> tuple[str | None, bool]:
    """Return the body's readable line, and whether it is JSON."""
    try:
        value = json.loads(body[:KEPT_BODY_BYTES])
        if isinstance(value, dict):
            value = next((value[key] for key in ("detail", "message", "reason", "error") if value.get(key)), value)
        return _sentence(value), True
    except (ValueError, RecursionError):
        return _first_words(as_utf8(body[:KEPT_BODY_BYTES]).decode("utf-8", "replace").strip()), False


def _sentence(value: object) -> str | None:
    """Render a `detail`, which may be any JSON (A15)."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(isinstance(item, dict) and "msg" in item for item in value):
        text = "; ".join(map(_validation_line, value))
    else:
        text = json.dumps(value, ensure_ascii=False)
    return _shortened(text) or None


def _validation_line(item: Mapping[str, Any]) -> str:
    place = item.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else str(place or "")
    return f"{where}: {item['msg']}" if where else str(item["msg"])


def _first_words(text: str) -> str | None:
    """Return a page's title, or what it says first; of a text its first line."""
    if not text.startswith("<"):
        return _shortened(text.splitlines()[0]) or None if text else None
    title = re.search(_TITLE, text)
    words = html.unescape(title[1]) if title else ""
    if not words.strip():
        words = html.unescape(re.sub(_MARKUP, " ", text[:_READ_CHARACTERS]))
    return _shortened(words, _FIRST_WORDS) or None


def _shortened(text: str, most: int = 500) -> str:
    text = scrub(" ".join(text.split()))
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= most else f"{text[:most]}..."


def scrub(text: str) -> str:
    """Return `text` without credentials, and its URLs without passwords and queries."""
    for pattern, replacement in _SECRETS:
        text = re.sub(pattern, replacement, text)
    return re.sub(_URL_QUERY, r"\1", text)


def _scrubbed_body(body: bytes) -> bytes:
    text = body[:KEPT_BODY_BYTES].decode("latin-1")  # every byte is a character, and comes back as it was
    for pattern, replacement in _SECRETS:
        text = re.sub(pattern, replacement, text)
    return text.encode("latin-1")


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return `Retry-After` in seconds, never negative (RFC 9110, section 10.2.3; A12); None if it is not there.

    A date is compared with the answer's own `Date`, and with `now` only where that is missing: clocks differ.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        moment = http_date(value)
        if moment is None:
            return None
        seconds = (moment - (http_date(headers.get("date", "")) or now)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def http_date(value: str) -> datetime | None:
    """Return the moment of an HTTP date in UTC, or None if it is none."""
    try:
        moment = parsedate_to_datetime(value)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):  # no date, or a year out of range
        return None
