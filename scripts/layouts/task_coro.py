"""Prints where an asyncio Task keeps its coroutine, and how large it is: TaskObj is private to _asyncio.c, so no header
tells."""
import asyncio
import ctypes


async def child():
    pass


async def main():
    coro = child()
    task = asyncio.get_event_loop().create_task(coro)
    assert type(task).__module__ == "_asyncio", "the C implementation of Task is missing"
    words = range(16, task.__sizeof__(), 8)
    found = [at for at in words if ctypes.c_uint64.from_address(id(task) + at).value == id(coro)]
    assert len(found) == 1, found
    print("TaskCoro", found[0])
    print("TaskSize", type(task).__basicsize__)
    await task


loop = asyncio.new_event_loop()
loop.run_until_complete(main())
