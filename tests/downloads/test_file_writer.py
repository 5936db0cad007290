"""The file writer: every byte at its place, errors raised, memory bounded, on both event loops."""

import random
import threading

import anyio
import pytest
from anyio import to_thread

from polyglot_async._downloads.file_writer import MAX_SLABS, SLAB_BYTES, open_file_writer

pytestmark = pytest.mark.anyio


class Target:
    """A file in memory."""

    def __init__(self, size):
        self.data = bytearray(size)
        self.writes = 0

    def write(self, offset, chunk):
        self.writes += 1
        self.data[offset : offset + len(chunk)] = chunk


async def test_chunks_of_any_size_from_any_task_are_written_where_they_belong():
    content = random.Random(1).randbytes(3 * SLAB_BYTES + 777)
    target = Target(len(content))

    async def write(start, stop, size):
        for offset in range(start, stop, size):
            await writer.write(offset, content[offset : min(stop, offset + size)])

    async with open_file_writer(target.write) as writer, anyio.create_task_group() as tasks:
        third = len(content) // 3
        tasks.start_soon(write, 0, third, 1000)
        tasks.start_soon(write, third, 2 * third, SLAB_BYTES)
        tasks.start_soon(write, 2 * third, len(content), 5 * SLAB_BYTES)

    assert target.data == content


async def test_small_chunks_in_a_row_are_written_together():
    target = Target(SLAB_BYTES)

    async with open_file_writer(target.write) as writer:
        for offset in range(0, SLAB_BYTES, 1024):
            await writer.write(offset, bytes(1024))

    assert target.writes == 1


async def test_a_slow_disk_slows_the_tasks_that_write():
    disk, taken = threading.Event(), 0

    def write(_, __):
        disk.wait()

    async with open_file_writer(write) as writer:
        with anyio.move_on_after(0.2) as waiting:
            while True:
                await writer.write(taken, bytes(SLAB_BYTES))
                taken += SLAB_BYTES
        disk.set()

    assert waiting.cancelled_caught
    assert taken <= MAX_SLABS * SLAB_BYTES


async def test_all_tasks_that_wait_for_a_slab_go_on():
    target = Target(64 * SLAB_BYTES)

    async with open_file_writer(target.write) as writer, anyio.create_task_group() as tasks:
        for number in range(64):
            tasks.start_soon(writer.write, number * SLAB_BYTES, bytes([number]) * SLAB_BYTES)

    assert all(target.data[number * SLAB_BYTES] == number for number in range(64))


async def test_what_a_write_raises_is_raised_by_the_next_write():
    failed = threading.Event()

    def write(_, __):
        failed.set()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        async with open_file_writer(write) as writer:
            await writer.write(0, bytes(SLAB_BYTES))
            await to_thread.run_sync(failed.wait)
            while True:
                await writer.write(0, bytes(SLAB_BYTES))


async def test_what_the_last_write_raises_is_raised_at_the_end():
    def write(_, __):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        async with open_file_writer(write) as writer:
            await writer.write(0, b"x")


async def test_a_cancelled_caller_leaves_no_byte_unwritten():
    target = Target(10)

    with anyio.CancelScope() as scope:
        async with open_file_writer(target.write) as writer:
            await writer.write(0, b"0123456789")
            scope.cancel()
            await anyio.sleep_forever()

    assert target.data == b"0123456789"
