"""Batches computed side by side on a CPU, each by its own share of torch's threads.

All threads on one batch wait for each other after every layer, and for the slowest: wherever something else takes a
core for a moment, as reading images does, all of them stand still. With a batch each, nobody waits for anybody.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from dualcoop.inference.images import Batch, Result, in_turn

MOST_STREAMS = 4
"""Batches at a time: each holds its images and feature maps in memory, and all share Python's one interpreter."""

# Side by side within side by side would start more threads than there are cores.
_threads_are_divided = threading.Lock()


def streams(device: torch.device) -> int:
    """Batches that `side_by_side` computes at a time: 1 on an accelerator, whose work is in a row anyway."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return 1
    # As many threads at work as can be, then as many streams.
    return max(range(2, min(MOST_STREAMS, threads) + 1), key=lambda count: (count * (threads // count), count))


def side_by_side(
    batches: Iterable[Batch], compute: Callable[[Batch], Result], device: torch.device
) -> Generator[tuple[Batch, Result], None, None]:
    """Every batch with its result, in order; one batch more than there are streams is taken ahead.

    Where another thread does this already, and on an accelerator, batches are computed one after the other.

    Args:
        batches: taken in the caller's thread.
        compute: called in other threads, under the caller's `torch.autocast`; whatever has to be computed once for all
            batches is best computed before.
        device: where `compute` computes.
    """
    count, threads = streams(device), torch.get_num_threads()
    if count == 1 or not _threads_are_divided.acquire(blocking=False):
        yield from in_turn(batches, compute)
        return
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)

    def run(batch: Batch) -> Result:
        with torch.autocast(device.type, dtype, enabled=enabled):
            return compute(batch)

    all_are_there = threading.Barrier(count)

    def divide() -> None:
        # Asked for once before, torch does not look for it later.
        torch.get_num_threads()
        torch.set_num_threads(threads // count)
        all_are_there.wait()

    pool = ThreadPoolExecutor(count, "dualcoop-compute")
    started: deque[tuple[Batch, Future[Result]]] = deque()
    failure: Exception | None = None
    source = iter(batches)
    try:
        for each in [pool.submit(divide) for _ in range(count)]:
            each.result()
        # The number also holds for threads that are born from now on, which are none of ours.
        torch.set_num_threads(threads)
        while failure is None or started:
            try:
                while failure is None and len(started) <= count:
                    batch = next(source)
                    started.append((batch, pool.submit(run, batch)))
            # What was begun is done before it ends, and before the caller hears of what went wrong.
            except Exception as error:
                failure = error
            if started:
                earliest, result = started.popleft()
                yield earliest, result.result()
        if not isinstance(failure, StopIteration):
            assert failure is not None
            raise failure
    finally:
        try:
            pool.shutdown(cancel_futures=True)
        finally:
            _threads_are_divided.release()
