"""The money table, row by row; which errors stop a batch or are waited out; how attempts and delays are counted."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    JournalError,
    MediaError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RangeError,
    RateLimitError,
    RedirectError,
    ResponseDecodeError,
    ServerError,
    ServiceUnavailableError,
)
from polyglot_async._http.retry import (
    FIRST_DELAY,
    LONGEST_DELAY,
    LONGEST_RETRY_AFTER,
    Action,
    Attempts,
    delay,
    is_late,
    is_outage,
    next_action,
    stops_batch,
)

FIELDS = (("model", "fast"),)
UPLOAD = SimpleNamespace(endpoint=SimpleNamespace(billable=True), fields=FIELDS)
FROM_URL = SimpleNamespace(endpoint=SimpleNamespace(billable=True), fields=None)
GET = SimpleNamespace(endpoint=SimpleNamespace(billable=False), fields=None)
CONVERSION = SimpleNamespace(endpoint=SimpleNamespace(billable=False), fields=FIELDS)
PAID, FREE = {"upload": UPLOAD, "from_url": FROM_URL}, {"get": GET, "convert_audio": CONVERSION}

jitter = st.floats(0, 1, exclude_max=True)


def status(code, cls=ApiStatusError, **attributes):
    return cls("no", status_code=code, **attributes)


NOT_SENT = ApiConnectionError("refused", connected=False)
LOST, SILENT = ApiConnectionError("lost"), ApiTimeoutError("silent")
UNKNOWN_HOST = ApiConnectionError("unknown host", connected=False, permanent=True)
ANSWERS_THAT_TELL_NOTHING = [LOST, *(status(code, ServerError) for code in range(500, 600)), ResponseDecodeError("odd")]
NOT_ACCEPTED = [
    *(status(code) for code in (421, 425)),
    status(429, RateLimitError),
    status(403, RateLimitError),
    RangeError("other bytes"),
]
REQUEST_TIMEOUT = status(408, BadRequestError)
REFUSALS = [
    *(status(code, BadRequestError) for code in range(400, 500) if code not in {401, 403, 408, 421, 425, 429}),
    *(status(code) for code in range(300, 400) if code != 303),
    status(403, PermissionDeniedError),
    MediaError("empty"),
]
WHAT_NOTHING_MENDS = [
    UNKNOWN_HOST,
    status(402, BadRequestError),
    status(407, BadRequestError),
    status(401, AuthenticationError),
    status(302, RedirectError),
    ConfigurationError("closed"),
]


def named(error):
    return f"{type(error).__name__} {getattr(error, 'status_code', '')}".strip()


@pytest.mark.parametrize("call", [*PAID, *FREE])
@pytest.mark.parametrize("body_complete", [True, False])
def test_what_found_no_connection_is_sent_again(call, body_complete):
    assert Action.RETRY is next_action(NOT_SENT, {**PAID, **FREE}[call], body_complete=body_complete)


@pytest.mark.parametrize("call", PAID)
@pytest.mark.parametrize("error", [SILENT, *ANSWERS_THAT_TELL_NOTHING], ids=named)
def test_work_that_may_have_been_started_is_proven_and_half_a_body_is_sent_again(call, error):
    assert Action.PROVE is next_action(error, PAID[call], body_complete=True)
    assert Action.RETRY is next_action(error, PAID[call], body_complete=False)


@pytest.mark.parametrize("error", [status(303), status(303, RedirectError), status(0, RedirectError)], ids=named)
def test_a_redirect_that_follows_work_is_proven_and_is_final_for_all_else(error):
    """A 303 answers a POST that was carried out; of a `Location` that is no URL nobody knows the status."""
    for request in PAID.values():
        assert Action.PROVE is next_action(error, request, body_complete=True)
        assert Action.FAIL is next_action(error, request, body_complete=False)
    for request in FREE.values():
        assert Action.FAIL is next_action(error, request, body_complete=True)


def test_a_request_timeout_may_come_after_the_whole_request_and_is_proven_then():
    """A proxy answers so too, when the service takes too long over what was passed on to it."""
    for request in PAID.values():
        assert Action.PROVE is next_action(REQUEST_TIMEOUT, request, body_complete=True)
        assert Action.RETRY is next_action(REQUEST_TIMEOUT, request, body_complete=False)
    for request in FREE.values():
        assert Action.RETRY is next_action(REQUEST_TIMEOUT, request, body_complete=True)
    assert not stops_batch(REQUEST_TIMEOUT)
    assert not is_outage(REQUEST_TIMEOUT)


@pytest.mark.parametrize("call", FREE)
@pytest.mark.parametrize("error", ANSWERS_THAT_TELL_NOTHING, ids=named)
def test_a_free_call_is_repeated(call, error):
    is_slow_conversion = FREE[call] is CONVERSION and is_late(error)
    assert (Action.FAIL if is_slow_conversion else Action.RETRY) is next_action(error, FREE[call], body_complete=True)
    assert Action.RETRY is next_action(error, FREE[call], body_complete=False)


def test_a_conversion_is_not_sent_again_while_the_service_may_be_at_work_on_it():
    assert Action.FAIL is next_action(SILENT, CONVERSION, body_complete=True)
    assert Action.RETRY is next_action(SILENT, CONVERSION, body_complete=False)
    assert Action.RETRY is next_action(SILENT, GET, body_complete=True)


@pytest.mark.parametrize("body_complete", [True, False])
@pytest.mark.parametrize("call", [*PAID, *FREE])
@pytest.mark.parametrize(
    ("expected", "errors"),
    [(Action.RETRY, NOT_ACCEPTED), (Action.FAIL, REFUSALS), (Action.FAIL, WHAT_NOTHING_MENDS)],
    ids=["not accepted", "refused", "lasting"],
)
def test_a_status_decides_the_same_for_every_call(expected, errors, call, body_complete):
    request = {**PAID, **FREE}[call]

    assert {expected} == {next_action(error, request, body_complete=body_complete) for error in errors}


@pytest.mark.parametrize(
    "error",
    [*WHAT_NOTHING_MENDS, JournalError("locked"), QuotaExhaustedError("spent", resets_at=None, limit="daily"),
     ServiceUnavailableError("down")],
    ids=named,
)  # fmt: skip
def test_what_every_other_call_would_meet_stops_a_batch_and_is_not_waited_out(error):
    assert stops_batch(error)
    assert not is_outage(error)


@pytest.mark.parametrize("code", [404, 405, 410])
@pytest.mark.parametrize(
    ("method", "call", "stops"),
    [("POST", "upload", True), ("POST", "from-url", False), ("GET", "upload", False), ("GET", "uploads", False)],
)
def test_where_there_is_no_upload_every_file_would_fail_alike(method, call, stops, code):
    """The path names no file, but a 404 to `from_url` may be about the URL, and one to a GET about the task."""
    error = status(code, method=method, url=f"https://a.example/v1/transcriptions/{call}")
    assert stops is stops_batch(error)
    assert Action.FAIL is next_action(error, UPLOAD, body_complete=True)
    assert not stops_batch(status(409, method="POST", url="https://a.example/v1/transcriptions/upload"))


@pytest.mark.parametrize("error", [NOT_SENT, SILENT, *ANSWERS_THAT_TELL_NOTHING], ids=named)
def test_what_may_be_an_outage_is_waited_out_and_stops_no_batch(error):
    assert is_outage(error)
    assert not stops_batch(error)


@pytest.mark.parametrize(
    "error", [*NOT_ACCEPTED, *(error for error in REFUSALS if named(error)[-3:] not in {"402", "407"})], ids=named
)
def test_an_answer_about_one_file_is_no_outage_and_stops_no_batch(error):
    assert not is_outage(error)
    assert not stops_batch(error)


@given(retries=st.integers(0, 20))
def test_retries_count_the_attempts_after_the_first(retries):
    attempts = Attempts(retries)

    assert [True] * retries + [False] == [attempts.failed(LOST) for _ in range(retries + 1)]
    assert retries + 1 == attempts.made


def test_an_answer_that_cannot_be_read_is_asked_for_once_more():
    attempts = Attempts(retries=10)

    assert [True, True, False] == [
        attempts.failed(error) for error in (ResponseDecodeError("odd"), LOST, ResponseDecodeError("odd"))
    ]


def next_delay(attempts, error, request=GET, **options):
    return attempts.next_delay(error, request, **{"body_complete": True, "random": 0.0, **options})


@given(retries=st.integers(0, 8))
def test_each_failure_is_waited_for_longer_until_no_attempt_is_left(retries):
    attempts = Attempts(retries)

    delays = [next_delay(attempts, LOST) for _ in range(retries + 1)]
    assert [delay(number, LOST, random=0.0) for number in range(1, retries + 1)] + [None] == delays


@pytest.mark.parametrize("error", [REFUSALS[0], *WHAT_NOTHING_MENDS], ids=named)
def test_after_what_the_table_refuses_there_is_no_next_attempt(error):
    assert next_delay(Attempts(5), error) is None


@pytest.mark.parametrize("call", PAID)
def test_what_has_to_be_proven_is_not_waited_for(call):
    assert next_delay(Attempts(5), LOST, PAID[call]) is None
    assert next_delay(Attempts(5), LOST, PAID[call], body_complete=False) == FIRST_DELAY / 2


@pytest.mark.parametrize("forgives", [False, True])
def test_a_pause_too_long_for_a_call_is_kept_by_a_batch(forgives):
    error = status(429, RateLimitError, retry_after=LONGEST_RETRY_AFTER + 1)

    assert (error.retry_after if forgives else None) == next_delay(Attempts(5, forgives_429=forgives), error)


@given(random=jitter)
def test_the_longest_pause_is_what_the_service_asks_for_and_not_what_is_added_to_it(random):
    error = status(429, RateLimitError, retry_after=LONGEST_RETRY_AFTER)

    seconds = next_delay(Attempts(5), error, random=random)
    assert seconds is not None
    assert LONGEST_RETRY_AFTER <= seconds <= LONGEST_RETRY_AFTER + 1


def test_an_attempt_that_brought_something_uses_up_none():
    attempts = Attempts(retries=0)

    assert [FIRST_DELAY / 2] * 9 == [next_delay(attempts, LOST, counts=False) for _ in range(9)]
    assert next_delay(attempts, REFUSALS[0], counts=False) is None
    assert next_delay(attempts, LOST) is None


def test_a_429_uses_up_no_attempt_of_a_batch():
    attempts = Attempts(retries=0, forgives_429=True)

    assert all(attempts.failed(status(429, RateLimitError)) for _ in range(100))
    assert 0 == attempts.made
    assert not attempts.failed(LOST)


@given(attempt=st.integers(0, 10_000), random=jitter)
def test_delays_double_up_to_a_bound_and_are_taken_from_the_upper_half(attempt, random):
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** max(0, min(attempt - 1, 60)))

    assert longest / 2 <= delay(attempt, None, random=random) <= longest
    assert delay(attempt, status(500, ServerError), random=random) == delay(attempt, None, random=random)


@given(seconds=st.floats(0, 1e9), attempt=st.integers(1, 50), random=jitter)
def test_what_the_service_asks_for_is_kept_and_never_shortened(seconds, attempt, random):
    error = status(429, RateLimitError, retry_after=seconds)

    assert seconds <= delay(attempt, error, random=random) <= seconds + 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (status(504, ServerError), True),
        (status(524, ServerError), True),
        (status(408), True),
        (ApiTimeoutError("no answer"), True),
        (status(502, ServerError), False),
        (LOST, False),
    ],
    ids=str,
)
def test_after_a_timeout_the_service_may_be_at_work_still(error, expected):
    assert expected == is_late(error)


def test_what_is_waited_out_uses_up_no_attempt_and_what_reached_nobody_did_not_leave():
    attempts = Attempts(2, forgives_429=True)
    for error in (status(429, RateLimitError), NOT_SENT, SILENT):
        attempts.failed(error)
    assert (2, 1) == (attempts.made, attempts.left)

    attempts.forgive_unsent()
    assert (1, 1) == (attempts.made, attempts.left)
