"""The live limits, out of documents of many shapes: read exactly, or named as not understood."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import Limits
from polyglot_async._api.limits_document import read_limits

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
words = st.lists(
    st.sampled_from(
        ["requests", "uploads", "per", "minute", "day", "daily", "month", "max", "concurrent", "tasks", "size", "mb",
         "audio", "seconds", "minutes", "window", "burst", "plan", "name", "file", "bytes", "duration"]
    ),
    min_size=1,
    max_size=4,
).map("_".join)  # fmt: skip
numbers = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
near_limits = st.recursive(
    numbers, lambda inner: st.dictionaries(words, inner | st.lists(inner, max_size=2), max_size=5), max_leaves=20
)
COUNTS = (
    "requests_per_window", "uploads_per_window", "requests_per_day", "requests_per_month", "max_concurrent_tasks",
    "max_upload_bytes",
)  # fmt: skip


def read(**rate_limits):
    limits = read_limits({"rate_limits": rate_limits})
    return attrs.asdict(limits, filter=lambda field, value: field.name != "raw" and value != field.default)


@given(any_json | st.fixed_dictionaries({"rate_limits": any_json | near_limits}))
def test_any_json_gives_limits_or_a_value_error(document):
    try:
        limits = read_limits(document)
    except ValueError:
        return
    for name in COUNTS:
        value = getattr(limits, name)
        assert value is None or (type(value) is int and value >= 1)
    for value in (limits.max_audio_seconds or 1.0, limits.window_seconds):
        assert type(value) is float
        assert 0 < value < float("inf")


@given(near_limits.filter(lambda value: isinstance(value, dict)))
def test_every_number_is_either_taken_or_named(rate_limits):
    def leaves(value, path=()):
        if isinstance(value, (dict, list)):
            for name, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from leaves(item, (*path, str(name)))
        elif type(value) in {int, float} and "window" not in path[-1:]:
            yield ".".join(path), value

    limits = read_limits({"rate_limits": rate_limits})

    named = set(limits.not_understood)
    assert rate_limits is limits.raw
    assert all(place in named or value >= 1 for place, value in leaves(rate_limits))


@pytest.mark.parametrize(
    "document",
    [None, 5, "x", [], {}, {"rate_limits": None}, {"rate_limits": "see our site"}, {"rate_limits": 5}, {"title": "API"},
     {"paths": {"/x": {"get": {"responses": {"200": "ok"}}}}}],
)  # fmt: skip
def test_without_anything_to_walk_there_is_nothing_to_read(document):
    with pytest.raises(ValueError, match="there is no object `rate_limits`"):
        read_limits(document)


def test_the_contracts_own_example_is_read_exactly():
    document = {
        "rate_limits": {
            "burst": {"requests_per_minute": 60, "uploads_per_minute": 10},
            "api_keys": {"requests_per_day": 5000, "requests_per_month": 100000},
            "plan": {
                "name": "pro", "max_concurrent_tasks": 3, "max_upload_bytes": 2147483648, "max_audio_seconds": 14400,
            },
        }
    }  # fmt: skip

    assert Limits(
        plan="pro",
        requests_per_window=60,
        uploads_per_window=10,
        window_seconds=60.0,
        requests_per_day=5000,
        requests_per_month=100000,
        max_concurrent_tasks=3,
        max_upload_bytes=2147483648,
        max_audio_seconds=14400.0,
    ) == read_limits(document)


def test_a_flat_document_in_other_units_is_read():
    assert {
        "requests_per_window": 60,
        "requests_per_day": 1000,
        "requests_per_month": 20000,
        "max_upload_bytes": 500_000_000,
        "max_audio_seconds": 3600.0,
        "max_concurrent_tasks": 2,
    } == read(
        per_minute=60, daily=1000, monthly=20000, max_file_size_mb=500, max_duration_minutes=60, concurrent_tasks=2
    )


@pytest.mark.parametrize(
    ("rate_limits", "expected"),
    [
        ({"requests": {"per_minute": 60, "per_day": 9}}, {"requests_per_window": 60, "requests_per_day": 9}),
        ({"uploads": {"per_minute": 10}, "requests": {"per_minute": 60}},
         {"uploads_per_window": 10, "requests_per_window": 60}),
        ({"minute": {"requests": 60, "uploads": 10}}, {"uploads_per_window": 10, "requests_per_window": 60}),
        ({"requestsPerMinute": 60, "maxUploadMB": 5}, {"requests_per_window": 60, "max_upload_bytes": 5_000_000}),
        ({"Per Minute": 60}, {"requests_per_window": 60}),
        ({"burst": {"limit": 100, "window_seconds": 30}}, {"requests_per_window": 100, "window_seconds": 30.0}),
        ({"burst": 60}, {"requests_per_window": 60}),
        ({"plan": "free", "daily": 10}, {"plan": "free", "requests_per_day": 10}),
        ({"per_minute": 60.9}, {"requests_per_window": 60}),
        ({"per_minute": 60, "burst": 60}, {"requests_per_window": 60}),
        ({"uploads_per_day": 3}, {}),
        ({"per_minute": 1, "per_day": 1}, {"requests_per_window": 1, "requests_per_day": 1}),
        ({"per_minute": "60"}, {"requests_per_window": 60}),
        ({"per_minute": " 5 000 "}, {"requests_per_window": 5000}),
        ({"per_minute": [60]}, {"requests_per_window": 60}),
        ({"burst": "60/minute", "requests": "5,000 per day"}, {"requests_per_window": 60, "requests_per_day": 5000}),
        ({"max_upload": "2 GB", "audio": "4 hours"}, {"max_upload_bytes": 2_000_000_000, "max_audio_seconds": 14400.0}),
        ({"max_upload_bytes": "2 GB"}, {"max_upload_bytes": 2_000_000_000}),
        ({"max_upload_bytes": "2GiB"}, {"max_upload_bytes": 2 << 30}),
        ({"max_upload_bytes": "2 147 483 648 bytes"}, {"max_upload_bytes": 2 << 30}),
        ({"max_upload_bytes": "2147483648 B"}, {"max_upload_bytes": 2 << 30}),
        ({"max_upload_bytes": "2147483648 per file"}, {"max_upload_bytes": 2 << 30}),
        ({"max_upload_mb": "1.5 GB per file"}, {"max_upload_bytes": 1_500_000_000}),
        ({"maxFileSizeMiB": 500}, {"max_upload_bytes": 500 << 20}),
        ({"max_upload_kb": 500}, {"max_upload_bytes": 500_000}),
        ({"max_upload": {"value": "2", "unit": "TiB"}}, {"max_upload_bytes": 2 << 40}),
        ({"max_audio_seconds": "4 hours"}, {"max_audio_seconds": 14400.0}),
        ({"max_audio_duration": "1 hour"}, {"max_audio_seconds": 3600.0}),
        ({"max_audio_minutes": "up to 90 s"}, {"max_audio_seconds": 90.0}),
        ({"audio": "90m"}, {"max_audio_seconds": 5400.0}),
        ({"burst": {"limit": 9, "window_seconds": "2 min"}}, {"requests_per_window": 9, "window_seconds": 120.0}),
        ({"burst": {"limit": 9, "window_seconds": "30 s"}}, {"requests_per_window": 9, "window_seconds": 30.0}),
        ({"uploads": "20 per minute"}, {"uploads_per_window": 20}),
        ({"uploads": "20 uploads/minute"}, {"uploads_per_window": 20}),
        ({"requests_per_minute": "20 per minute"}, {"requests_per_window": 20}),
        ({"max_concurrent_tasks": "3 tasks at once"}, {"max_concurrent_tasks": 3}),
        ({"burst": {"window": 60, "limit": 100}}, {"requests_per_window": 100}),
        ({"burst": {"window": "1m", "limit": 100}}, {"requests_per_window": 100}),
        ({"requests": {"limit": 60, "period": "minute"}}, {"requests_per_window": 60}),
        ({"a": {"max": 60, "window_seconds": 60}, "b": {"max": 5000, "window_seconds": 86400}},
         {"requests_per_window": 60, "requests_per_day": 5000}),
        ({}, {}),
    ],
)  # fmt: skip
def test_other_plausible_shapes_are_read(rate_limits, expected):
    assert expected == read(**rate_limits)


@pytest.mark.parametrize(
    "rate_limits",
    [
        {"audio_minutes_per_month": 300}, {"minutes_per_month": 300}, {"uploads_per_month": 30}, {"tasks_per_day": 5},
        {"per_hour": 60}, {"per_minute": "many"}, {"per_minute": -1}, {"per_minute": 0}, {"per_minute": 0.5},
        {"per_minute": "10 to 60"}, {"per_minute": "0"}, {"burst": {"limit": 60, "period": "hour"}},
        {"per_second": 60}, {"window": float("nan")},
        {"max_upload_bytes": "2 ГБ"}, {"max_upload_bytes": "2 G"}, {"max_upload_bytes": "2 gigs"},
        {"max_upload_bytes": "2,5 GB"}, {"max_upload_bytes": "5.000 MB"}, {"max_upload_bytes": "5 MB/s"},
        {"max_upload_bytes": "2 GB per day"}, {"max_upload_bytes": "5 uploads"}, {"max_upload_bytes": "60 s"},
        {"max_upload_bytes": "2 of 3 GB"},
        {"max_size_mb_gb": 5}, {"size": {"unit": "GB", "max_bytes": 5}, "audio": None}, {"file_size": "80% bytes"},
        {"max_concurrent_tasks": "2 GB"}, {"max_concurrent_tasks": "3k"}, {"window_seconds": "2 days"},
        {"audio": "4 h 30 min"}, {"audio_retention": "30 days"}, {"max_audio_seconds": "4 GB"},
        {"audio": "2 hours a day"},
        {"per_minute": "-1"}, {"per_day": "5k"}, {"per_day": "5 thousand requests"}, {"per_day": "1e6"},
        {"per_minute": "60 per hour"}, {"requests_per_minute": "5000 per day"}, {"per_day": "5.000"},
        {"requests_per_minute": "60 s"}, {"per_minute": "1/60"}, {"burst": "60 s"},
        {"per_minute": True}, {"per_minute": float("nan")}, {"per_minute": float("inf")},
        {"per_minute": 10**30}, {"max_duration": 60}, {"plan": {"name": ["pro"]}}, {"plan": 5},
        {"one": {"two": {"three": {"four": {"five": {"six": {"seven": {"eight": {"per_minute": 1}}}}}}}}},
    ],
)  # fmt: skip
def test_what_may_mean_something_else_is_named_and_not_guessed_at(rate_limits):
    known = read(**rate_limits)

    assert {"not_understood"} == known.keys()
    assert 1 == len(known["not_understood"])


SIZES = {
    **dict.fromkeys(("", "B", "b", "byte", "bytes", "Bytes"), 1),
    **{f"{prefix}{unit}": base**power
       for power, prefix in enumerate("KMGT", 1)
       for unit, base in (("B", 1000), ("b", 1000), ("iB", 1024), ("ib", 1024))},
    **{f"{prefix}byte{plural}": 1000**power
       for power, prefix in enumerate(("kilo", "mega", "giga", "tera"), 1)
       for plural in ("", "s")},
}  # fmt: skip
LENGTHS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
}
CALLS = {"task", "tasks", "call", "calls", "daily"}
any_word = st.text(st.characters(categories=["L"]), max_size=5)


@given(
    st.sampled_from([("max_upload_bytes", SIZES), ("max_audio_seconds", LENGTHS), ("window_seconds", LENGTHS)]),
    st.integers(1, 1000),
    st.sampled_from(["", " ", "\t", "-", "\N{NO-BREAK SPACE}"]),
    any_word | st.sampled_from([*SIZES, *LENGTHS]),
)
def test_a_number_is_read_in_the_unit_of_its_text_or_not_at_all(field_and_units, number, space, unit):
    name, units = field_and_units
    known = read(**{name: f"{number}{space}{unit}"})

    expected = {**{key.lower(): factor for key, factor in units.items()}, "per": 1}.get(unit.lower())
    if name == "window_seconds":  # one of 60 s is the default, and a length of a day is the word for that
        assert known.get(name) in {None, expected and float(number * expected)}
    elif expected is not None:
        assert {name: number * expected} == known
    else:  # "5 daily" uploads are a limit of the website, which is left out
        assert known in ({"not_understood": (name,)}, {})


@given(st.sampled_from(["requests_per_day", "max_concurrent_tasks", "requests_per_minute"]), any_word)
def test_a_count_with_a_word_that_is_not_known_is_not_taken_for_a_bare_number(name, word):
    known = read(**{name: f"5 {word}"})

    is_known = not word or word.lower() in {"a", "an", "at", "per", "in", "each", "every"} | CALLS
    assert is_known or ("not_understood", (name,)) in known.items()


@pytest.mark.parametrize("rate_limits", [{"plan": None}, {"plan": {"name": None}}, {"per_minute": None}])
def test_null_is_nothing_to_read_and_never_the_word_none(rate_limits):
    assert {} == read(**rate_limits)


def test_the_length_of_a_burst_is_not_the_number_of_its_requests():
    assert {"requests_per_window": 100, "not_understood": ("burst.window",)} == read(burst={"window": 17, "limit": 100})
    assert {"requests_per_window": 100, "window_seconds": 17.0} == read(burst={"window_seconds": 17, "limit": 100})


LIST = [
    {"name": "burst", "period": "minute", "limit": 60},
    {"name": "uploads", "period": "minute", "limit": "10"},
    {"name": "api", "period": "day", "limit": 5000},
    {"name": "api", "period": "month", "limit": "100000"},
    {"name": "concurrent_tasks", "limit": 3},
    {"name": "audio_duration", "unit": "seconds", "max": 14400},
    {"type": "upload_size", "unit": "MB", "value": 2048},
]
READ_LIST = {
    "requests_per_window": 60, "uploads_per_window": 10, "requests_per_day": 5000, "requests_per_month": 100_000,
    "max_concurrent_tasks": 3, "max_audio_seconds": 14400.0, "max_upload_bytes": 2_048_000_000,
}  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        {"rate_limits": LIST},
        {"rateLimits": LIST},
        {"limits": LIST},
        {"data": {"rate_limits": LIST}},
        {"title": "API", "version": 1, "pages": [{"text": "Hello"}, {"rate_limits": LIST}]},
        {"rate_limits": {"all": LIST}},
        {"limits": {"pages": 3}, "rate_limits": LIST},
        LIST,
    ],
)
def test_a_list_of_limits_is_walked_wherever_it_stands(document):
    limits = read_limits(document)

    assert READ_LIST == {name: getattr(limits, name) for name in READ_LIST}
    assert () == limits.not_understood


def test_limits_at_the_top_of_the_document_are_read_and_the_rest_of_it_is_not_named():
    document = {"title": "API", "requests_per_minute": 60, "max_concurrent_tasks": "3", "pages": 12}

    limits = read_limits(document)

    assert (60, 3, ()) == (limits.requests_per_window, limits.max_concurrent_tasks, limits.not_understood)


def test_where_each_plan_has_its_own_the_accounts_plan_tells_which():
    plans = {"free": {"per_minute": 10, "daily": 100}, "pro": {"per_minute": 60, "daily": 5000}}

    assert {"plan": "pro", "requests_per_window": 60, "requests_per_day": 5000} == read(plans=plans, plan="pro")
    assert {"plan": "free", "requests_per_window": 10, "requests_per_day": 100} == read(**plans, plan={"name": "free"})


def test_numbers_that_contradict_each_other_are_not_understood():
    known = read(free={"per_minute": 10, "daily": 5}, pro={"per_minute": 60, "daily": 5})

    assert {"requests_per_day": 5, "not_understood": ("free.per_minute", "pro.per_minute")} == known
