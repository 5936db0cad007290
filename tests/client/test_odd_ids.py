"""A wait is for the task that was asked for, however the service writes its id."""

import json

import pytest

from polyglot_async import ServerError

pytestmark = pytest.mark.anyio
COMPLETED = {"status": "completed"}


@pytest.mark.parametrize(
    "answer",
    [COMPLETED, [COMPLETED], *({"task_id": odd, **COMPLETED} for odd in ("abc-1", 17, " ABC-1 "))],
    ids=str,
)
async def test_an_answer_about_a_task_ends_its_wait(serve, connect, answer):
    server = serve(lambda _: (200, {"Content-Type": "application/json"}, json.dumps(answer).encode()))
    async with connect(base_url=server.url) as client:
        task = await client.transcriptions.wait("ABC-1", timeout=20)
    assert ("ABC-1", "completed") == (task.task_id, task.status)


async def test_a_page_in_place_of_an_error_is_told_from_the_services_own_refusal(serve, connect):
    server = serve(lambda _: (500, {"Content-Type": "text/html"}, b"<html><title>default backend</title></html>"))
    async with connect(base_url=server.url, max_retries=0) as client:
        with pytest.raises(ServerError) as caught:
            await client.transcriptions.get("t")
    assert caught.value.is_page
