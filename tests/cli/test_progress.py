"""The live display of a batch."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from polyglot_async import BatchProgress, Upload
from polyglot_async._cli._progress import BatchDisplay, counts, eta, shorten


def test_counts_and_the_time_left():
    progress = BatchProgress(taken=9, processing=2, done=3, failed=2, uncertain=1, skipped=4)
    assert counts(progress, 20) == {
        "waiting": 9,
        "uploading": 0,
        "processing": 2,
        "done": 3,
        "failed": 1,
        "uncertain": 1,
        "skipped": 4,
    }
    assert eta(progress, 20, 10.0) == 22.0
    assert eta(BatchProgress(), 20, 10.0) is None
    assert eta(BatchProgress(done=1), 1, 10.0) is None


@pytest.mark.parametrize("width", [20, 80])
def test_the_display_fits_the_terminal_and_shows_each_upload(width):
    now = 100.0
    display = BatchDisplay(20, enabled=False, clock=lambda: now)
    uploads = tuple(Upload(name=f"\x1b[31m{'long' * 20}-{n}.wav", sent=n * 10**6, total=10**8) for n in range(20))
    display.update(BatchProgress(taken=20, uploading=uploads, done=3, failed=1, requests_today=12_345))
    now += 10.0
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(display)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    if width == 80:
        assert "waiting 0  uploading 20  processing 0  done 3  failed 1" in shown
        assert "4 of 20   12345 requests today   ETA 40.0 s" in shown
        assert "-7.wav" in shown
        assert "7.0 MB of 100.0 MB" in shown
        assert "and 12 more" in shown


def test_a_label_is_short_and_without_secrets():
    assert shorten("a.wav") == "a.wav"
    assert shorten("https://u:p@x.test/a.mp3?sig=1") == "https://x.test/a.mp3"
    assert len(shorten("long" * 20)) == 28
