"""Subtitles, read back by FFmpeg: a reader that is not ours."""

import io
import math
import re
from html import unescape

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyglot_async import Segment, Transcript, subtitles

SEGMENTS = (Segment(0.0, 2.4, "Hello..."), Segment(2.4, 3661.0015, "two\nlines"))
texts = st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip)


def read_back(text, kind):
    with av.open(io.BytesIO(text.encode()), format=kind) as container:
        base = container.streams[0].time_base
        return [
            (
                round(packet.pts * base * 1000),
                round((packet.pts + packet.duration) * base * 1000),
                bytes(packet).decode(),
            )
            for packet in container.demux()
            if packet.size
        ]


def test_srt_is_what_players_agree_on():
    assert (
        "1\n00:00:00,000 --> 00:00:02,400\nHello...\n\n2\n00:00:02,400 --> 01:01:01,002\ntwo\nlines\n"
    ) == subtitles.to_srt(SEGMENTS)


def test_webvtt_is_what_the_w3c_says():
    assert (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\nHello...\n\n00:00:02.400 --> 01:01:01.002\ntwo\nlines\n"
    ) == subtitles.to_vtt(SEGMENTS)


def test_text_is_one_line_a_segment_as_it_stands():
    assert "Hello...\ntwo\nlines\n" == subtitles.to_txt(SEGMENTS)


@pytest.mark.parametrize(
    ("render", "expected"), [(subtitles.to_srt, ""), (subtitles.to_vtt, "WEBVTT\n"), (subtitles.to_txt, "")]
)
def test_nothing_said_gives_a_valid_empty_file(render, expected):
    assert expected == render([])
    assert expected == render([Segment(0.0, 1.0, ""), Segment(1.0, 2.0, " \n\t\r\n\u2028")])


def test_an_empty_text_takes_no_number():
    assert ["1", "2"] == re.findall(
        r"^\d+$", subtitles.to_srt([SEGMENTS[0], Segment(1.0, 2.0, " "), SEGMENTS[1]]), re.MULTILINE
    )


def test_no_blank_line_stands_inside_a_cue():
    assert "a\nb\nc" in subtitles.to_srt([Segment(0.0, 1.0, "\r\n a\r\n\r\n\n b \u2028\x85 c\n\n")])


def test_webvtt_escapes_what_is_markup_there():
    assert "1 &lt; 2 &amp;&amp; 3 --&gt; 4" in subtitles.to_vtt([Segment(0.0, 1.0, "1 < 2 && 3 --> 4")])


@pytest.mark.parametrize("render", [subtitles.to_srt, subtitles.to_vtt])
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (-1.0, 0.5, "00:00:00 --> 00:00:00 500"),
        (5.0, 1.0, "00:00:05 --> 00:00:05 001"),
        (5.0, 5.0, "00:00:05 --> 00:00:05 001"),
        (0.9996, 1.0, "00:00:01 --> 00:00:01 001"),
        (59.9999, 3599.9999, "00:01:00 --> 01:00:00"),
        (359999.0, 360000.0, "99:59:59 --> 100:00:00"),
    ],
)
def test_odd_times_become_possible_ones(render, start, end, expected):
    shown = re.sub(r"[.,]", " ", render([Segment(start, end, "x")])).replace(" 000", "")

    assert expected in shown


@given(start=st.floats(), end=st.floats(), text=st.text(), render=st.sampled_from([subtitles.to_srt, subtitles.to_vtt]))
@example(start=1e308, end=math.inf, text="x", render=subtitles.to_srt)
@example(start=math.nan, end=math.nan, text="x", render=subtitles.to_srt)
def test_any_times_and_any_text_are_rendered(start, end, text, render):
    rendered = render([Segment(start, end, text)])

    if " --> " in rendered:
        begin, stop = re.search(r"^(\d\S+) --> (\d\S+)$", rendered, re.MULTILINE).groups()
        assert (len(begin), begin) < (len(stop), stop)


@pytest.mark.parametrize(("render", "kind"), [(subtitles.to_srt, "srt"), (subtitles.to_vtt, "webvtt")])
@given(cues=st.lists(st.tuples(st.integers(0, 10_000), texts), min_size=1, max_size=5))
def test_ffmpeg_reads_the_same_cues(render, kind, cues):
    segments, at = [], 0
    for length, text in cues:
        # Digits alone and arrows are ambiguous in SRT, which has no escape for them.
        segments.append(Segment(at / 1000, (at + length + 1) / 1000, f"x{text.replace('>', '')}"))
        at += length + 1

    read = read_back(render(segments), kind)

    assert [(round(s.start * 1000), round(s.end * 1000)) for s in segments] == [cue[:2] for cue in read]
    assert [s.text.split() for s in segments] == [
        (cue[2] if kind == "srt" else unescape(cue[2])).split() for cue in read
    ]


@pytest.mark.parametrize("render", [subtitles.to_srt, subtitles.to_vtt, subtitles.to_txt])
@pytest.mark.parametrize(
    "given",
    [None, 5, "words", b"words", {"segments": []}, Transcript(task_id="a", text="t"), object()],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_segments_is_refused_by_name(render, given):
    with pytest.raises(TypeError, match=r"segments is .*: pass segments"):
        render(given)


@pytest.mark.parametrize("render", [subtitles.to_srt, subtitles.to_vtt, subtitles.to_txt])
@pytest.mark.parametrize(
    "item",
    ["x", None, 5, {"start": 0, "end": 1, "text": "t"}, (0, 1, "t"), Segment("0", 1.0, "t"), Segment(0.0, None, "t"),
     Segment(0.0, 1.0, None), Segment(0.0, 1.0, b"t")],
    ids=repr,
)  # fmt: skip
def test_an_item_that_is_no_segment_is_refused_by_its_number(render, item):
    for segments in ([*SEGMENTS, item], iter([*SEGMENTS, item])):
        with pytest.raises(TypeError, match=r"segments\[2\] is .*: pass objects with start and end"):
            render(segments)
