"""A wait is for the task that was asked for, however the service writes its id."""

import json

import pytest

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
