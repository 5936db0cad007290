"""Traces: a span of your own around a transcription, and one below it for each request.

    pip install opentelemetry-sdk opentelemetry-instrumentation-httpx
    python opentelemetry_tracing.py audio/austen-0880.wav

The instrumentation of httpx is handed the one client that it watches; its `instrument()` for all clients would
see httpx's own transports only, and not the faster one that the SDK brings. Neither spans nor logs hold the key.
"""

import asyncio
import sys

import httpx
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from polyglot_async import AsyncPolyglot


def as_line(span: ReadableSpan) -> str:
    """Write a span on one line; a real service sends it on, with an OTLPSpanExporter."""
    attributes = span.attributes or {}
    status = attributes.get("http.response.status_code", attributes.get("http.status_code", ""))
    return f"{'  below a span' if span.parent else 'root span'}: {span.name} {status}\n"


async def main(path: str) -> None:
    """Transcribe under a span."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=as_line)))
    trace.set_tracer_provider(provider)
    async with httpx.AsyncClient() as http, AsyncPolyglot(http_client=http) as client:
        HTTPXClientInstrumentor.instrument_client(http)
        with trace.get_tracer("example").start_as_current_span("transcribe a file") as span:
            transcript = await client.transcribe(path)
            span.set_attribute("words", len(transcript.text.split()))
    print(transcript.text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
