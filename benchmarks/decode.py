"""Decode the answer of a long recording: `python benchmarks/decode.py --segments 20000 --rounds 7`.

Ratios are times, to `json.loads` alone. Each contender decodes the same bytes five times in a process of its own, and
tells its median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from _frame import Contender, compete, save

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5


def make_body(segments: int) -> bytes:
    """An answer of GET result, with so many segments of a few words each."""
    sentence = "and then she said that nobody had ever seen a hat like that one before"
    texts = [sentence[number % 40 :] for number in range(segments)]
    return json.dumps(
        {
            "task_id": "00000000-0000-4000-8000-000000000000",
            "transcript": " ".join(texts),
            "translation": None,
            "confidence": 0.93,
            "segments": [
                {"start": round(number * 2.37, 2), "end": round(number * 2.37 + 2.1, 2), "text": text}
                for number, text in enumerate(texts)
            ],
            "updated_at": "2025-01-01T12:00:00Z",
        }
    ).encode()


def by_polyglot(body: bytes) -> Callable[[], object]:
    from polyglot_async._api.endpoints import parse_transcript
    from polyglot_async._api.messages import ApiResponse

    answer = ApiResponse(status_code=200, headers={}, body=body)
    return lambda: parse_transcript(answer)


def by_pydantic(body: bytes) -> Callable[[], object]:
    from pydantic import create_model

    segment = create_model("Segment", start=float, end=float, text=str)
    # As types that stand in variables: pydantic could not find them behind the strings that annotations are here.
    fields: dict[str, Any] = {
        "task_id": str,
        "transcript": str,
        "translation": str | None,
        "confidence": float | None,
        "segments": list[segment],
        "updated_at": str | None,
    }
    transcript = create_model("Transcript", **fields)
    return lambda: transcript.model_validate_json(body)


IN_PYTHON: dict[str, Callable[[bytes], Callable[[], object]]] = {
    "json.loads": lambda body: lambda: json.loads(body),
    "AsyncPolyglot": by_polyglot,
    "pydantic": by_pydantic,
}


def tell_time(decode: Callable[[], object]) -> None:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        value = decode()
        times.append(time.perf_counter() - began)
        del value  # freed after the clock has stopped
    print(json.dumps({"seconds": statistics.median(times)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        tell_time(IN_PYTHON[options.contender](make_body(options.segments)))
        return
    own = [sys.executable, __file__, "--segments", str(options.segments), "--contender"]
    rows = compete([Contender(name, [*own, name]) for name in IN_PYTHON], options.rounds, costs=True)
    title = f"Decoding {options.segments:,} segments"
    save("decode", title, rows, {"segments": options.segments, "rounds": options.rounds})


if __name__ == "__main__":
    main()
