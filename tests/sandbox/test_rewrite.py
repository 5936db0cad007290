"""What a rewrite fault changes in a document."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async.sandbox import Fault
from polyglot_async.sandbox.faults._rewrite import rewrite

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "items", "0", "created_at"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def rewritten(document, **options):
    document = copy.deepcopy(document)
    rewrite(document, Fault("rewrite", **options))
    return document


@pytest.mark.parametrize(
    ("document", "options", "expected"),
    [
        ({"a": 1}, {"set": "a:2"}, {"a": 2}),
        ({}, {"set": ("a:1", "b:[]")}, {"a": 1, "b": []}),
        ({"a": {"b": 1}}, {"set": "a.b:null"}, {"a": {"b": None}}),
        ({"a": 1}, {"set": "a.b:2"}, {"a": 1}),
        ({}, {"set": "a.b:2"}, {}),
        ({"a": [{"b": 1}, {}]}, {"set": "a.*.b:2"}, {"a": [{"b": 2}, {"b": 2}]}),
        ({"a": [1, 2]}, {"set": "a.1:3"}, {"a": [1, 3]}),
        ({"a": [1]}, {"set": "a.5:3"}, {"a": [1]}),
        ({"a": 1, "b": 2}, {"set": "*:0"}, {"a": 0, "b": 0}),
        ({"a": 1, "b": 2}, {"drop": "a,c"}, {"b": 2}),
        ({"items": [{"a": 1}], "a": 1}, {"drop": "a"}, {"items": [{}]}),
        ({"items": 5}, {"set": "a:1"}, {"items": 5, "a": 1}),
        ([{"a": 1}, 7], {"set": "a:2"}, [{"a": 2}, 7]),
        ({"items": [{"a": 1}, {"a": 2}]}, {"where": "a:1", "set": "b:1"}, {"items": [{"a": 1, "b": 1}, {"a": 2}]}),
        ({"created_at": "2026-01-01T00:00:00Z"}, {"utc_offset": -3.5}, {"created_at": "2025-12-31T20:30:00"}),
        ({"created_at": "soon", "a": "2026-01-01"}, {"utc_offset": 3}, {"created_at": "soon", "a": "2026-01-01"}),
    ],
)
def test_fields_are_set_dropped_and_shifted(document, options, expected):
    assert rewritten(document, **options) == expected


PATHS = st.lists(st.sampled_from(["a", "b", "items", "0", "1", "*", ""]), min_size=1, max_size=3).map(".".join)


@given(JSON, PATHS.filter(bool), PATHS.filter(bool))
def test_no_path_breaks_on_any_document(document, set_path, drop_path):
    rewritten(document, set=f"{set_path}:1", drop=drop_path, where=f"{drop_path}:null")
    rewritten(document, set=f"{set_path}:1", drop=drop_path, utc_offset=3)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_a_dropped_field_is_gone_and_the_others_stay(document):
    names = [name for name in document if name and not set(name) & set(",.*") and name != "items"]
    document.pop("items", None)
    for name in names:
        assert rewritten(document, drop=name) == {key: value for key, value in document.items() if key != name}
