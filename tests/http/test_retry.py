"""May it be sent again, and after how long?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    AuthenticationError,
    MediaError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)
from polyglot_async._api.endpoints import ENDPOINTS, FROM_URL, GET, UPLOAD
from polyglot_async._http.retry import FIRST_DELAY, LONGEST_DELAY, Verdict, delay, judge

jitter = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.call)
@pytest.mark.parametrize("cls", [ApiConnectionError, ApiTimeoutError])
def test_what_was_never_sent_may_always_be_sent_again(endpoint, cls):
    assert Verdict.RETRY is judge(endpoint, cls("refused", maybe_sent=False))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.call)
@pytest.mark.parametrize("cls", [ApiConnectionError, ApiTimeoutError])
def test_a_lost_connection_is_uncertain_for_what_starts_work_alone(endpoint, cls):
    expected = Verdict.UNCERTAIN if endpoint in {UPLOAD, FROM_URL} else Verdict.RETRY

    assert expected is judge(endpoint, cls("lost", maybe_sent=True))


def sent_again(endpoint):
    errors = [(RateLimitError if status == 429 else ApiStatusError)("no", status_code=status) for status in range(600)]
    assert {Verdict.RETRY, Verdict.FINAL} == {judge(endpoint, error) for error in errors}
    return {error.status_code for error in errors if judge(endpoint, error) is Verdict.RETRY}


@pytest.mark.parametrize("endpoint", [UPLOAD, FROM_URL], ids=lambda endpoint: endpoint.call)
def test_work_is_sent_again_only_where_the_answer_says_it_was_not_accepted(endpoint):
    assert {429, 503} == sent_again(endpoint)


def test_what_starts_no_work_is_sent_again_after_what_passes():
    assert {408, 425, 429, 500, 502, 503, 504} == sent_again(GET)


@pytest.mark.parametrize(
    "error",
    [MediaError("empty"), ResponseDecodeError("garbage"), AuthenticationError("no", status_code=401)],
    ids=lambda error: type(error).__name__,
)
def test_nothing_else_gets_better_by_sending_it_again(error):
    assert {Verdict.FINAL} == {judge(endpoint, error) for endpoint in ENDPOINTS}


@given(attempt=st.integers(0, 10_000), random=jitter)
def test_delays_double_up_to_a_bound_and_are_taken_from_the_upper_half(attempt, random):
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt - 1, 60))

    assert longest / 2 <= delay(attempt, None, random=random) <= longest
    assert delay(attempt, ServerError("no", status_code=500), random=random) == delay(attempt, None, random=random)


@given(seconds=st.floats(0, 1e9), attempt=st.integers(1, 50), random=jitter)
def test_what_the_service_asks_for_is_kept_and_never_shortened(seconds, attempt, random):
    error = RateLimitError("wait", status_code=429, retry_after=seconds)

    assert seconds <= delay(attempt, error, random=random) <= seconds + 1
