"""Batches computed side by side on a CPU, several at a time, each by its own share of torch's threads.

When all of torch's threads work on one batch, they wait for each other after every layer, and whatever else takes a
core for a moment, as reading images does, holds up all of them. Threads with a batch of their own wait for nobody.

The threads that compute are a pool that belongs to one object, the backbone: whoever computes with it shares them, so
that callers in several threads take no more cores than one. A pool starts when it is first needed and ends with its
owner. It is found by its owner, not kept in it: copies and pickles of the owner know nothing of it, and a process that
is forked starts one of its own.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from weakref import WeakKeyDictionary

import torch

from dualcoop.inference.images import Batch, Result, one_by_one

MOST_STREAMS = 4
"""Batches at a time: each holds its images and feature maps in memory, and all share Python's one interpreter."""

# By owner, then by process, number of threads and torch's threads for each. An executor that nothing refers to any more
# ends its threads.
_pools: WeakKeyDictionary[object, dict[tuple[int, int, int], ThreadPoolExecutor]] = WeakKeyDictionary()
_starting = threading.Lock()
# In the threads of a pool, `computes` is there.
_here = threading.local()
if hasattr(os, "register_at_fork"):
    # A process that is forked while another thread holds the lock would wait for it forever.
    os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)


def streams(device: torch.device) -> int:
    """Batches that `side_by_side` computes at a time when it is called in this thread.

    One on an accelerator, which does one thing after the other anyway, and in a pool's own threads, which would wait
    for each other.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or hasattr(_here, "computes"):
        return 1
    # As many threads at work as can be, then as many streams.
    return max(range(2, min(MOST_STREAMS, threads) + 1), key=lambda count: (count * (threads // count), count))


def side_by_side(
    batches: Iterable[Batch], compute: Callable[[Batch], Result], device: torch.device, owner: object
) -> Generator[tuple[Batch, Result], None, None]:
    """Every batch with its result, in order; one batch more than there are streams is taken ahead.

    A caller who does not ask for the next result keeps nobody waiting: the batches taken ahead are computed meanwhile,
    then the pool is free for others. When the generator ends, none of its batches is being computed any more.

    Args:
        batches: taken in the caller's thread.
        compute: called in other threads, under the caller's `torch.autocast`; what all batches need is best computed
            before.
        device: where `compute` computes.
        owner: whose pool of threads it is; anything that can be hashed and weakly referred to.
    """
    count = streams(device)
    if count == 1:
        yield from one_by_one(batches, compute)
        return
    pool = _pool(owner, count)
    process = os.getpid()
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)

    def run(batch: Batch) -> Result:
        with torch.autocast(device.type, dtype, enabled=enabled):
            return compute(batch)

    started: deque[tuple[Batch, Future[Result]]] = deque()
    failure: Exception | None = None
    source = iter(batches)
    try:
        while failure is None or started:
            try:
                while failure is None and len(started) <= count:
                    batch = next(source)
                    started.append((batch, pool.submit(run, batch)))
            # The results of what was begun come first, then what went wrong.
            except Exception as error:
                failure = error
            if started:
                earliest, future = started[0]
                result = future.result()
                started.popleft()
                yield earliest, result
        if not isinstance(failure, StopIteration):
            assert failure is not None
            raise failure
    finally:
        begun = [future for _, future in started if not future.cancel()]
        # The garbage collector may end a generator in a thread that computes for it, or in a fork without its threads.
        if process == os.getpid() and not hasattr(_here, "computes"):
            wait(begun)


def _pool(owner: object, count: int) -> ThreadPoolExecutor:
    """The owner's pool for the number of threads that torch has in the calling thread."""
    key = (os.getpid(), count, torch.get_num_threads() // count)
    with _starting:
        pools = _pools.setdefault(owner, {})
        if key not in pools:
            with ThreadPoolExecutor(1) as newborn:
                pools[key] = newborn.submit(_started_pool, *key[1:]).result()
        return pools[key]


def _started_pool(count: int, share: int) -> ThreadPoolExecutor:
    """A pool whose threads all run, each with this share of torch's threads; to be called in a newborn thread.

    `torch.set_num_threads` sets the number for the thread that calls it, and for all that are born from then on. A
    newborn thread can tell what the latter was, and set it again without a change to any other thread.
    """
    for_newborn = torch.get_num_threads()
    all_are_there = threading.Barrier(count)

    def divide() -> None:
        # Asked for once before, torch does not look for it later.
        torch.get_num_threads()
        torch.set_num_threads(share)
        _here.computes = True
        all_are_there.wait()

    pool = ThreadPoolExecutor(count, "dualcoop-compute")
    try:
        for each in [pool.submit(divide) for _ in range(count)]:
            each.result()
    finally:
        torch.set_num_threads(for_newborn)
    return pool
