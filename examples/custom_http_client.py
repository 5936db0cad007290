"""Your own httpx client: a proxy for the service's host, certificates of your own, tighter pools.

    python custom_http_client.py audio/austen-0880.wav http://proxy.example:3128

Proxies named in the environment (HTTPS_PROXY, NO_PROXY) need none of this: they are used by themselves. The client
that you pass stays yours: close it yourself, after the SDK's.
"""

import asyncio
import sys

import httpx

from polyglot_async import AsyncPolyglot


async def main(path: str, proxy: str) -> None:
    """Transcribe through a proxy, and print which requests were made."""

    async def log_request(request: httpx.Request) -> None:
        print(request.method, request.url.path)

    through_proxy = httpx.AsyncHTTPTransport(proxy=proxy, limits=httpx.Limits(max_connections=10))
    async with (
        # Mounts choose a transport by the URL: here everything takes the proxy; "all://*.polyglotvoice.ru" is narrower.
        httpx.AsyncClient(mounts={"all://": through_proxy}, event_hooks={"request": [log_request]}) as http,
        AsyncPolyglot(http_client=http) as client,
    ):
        print((await client.transcribe(path)).text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
