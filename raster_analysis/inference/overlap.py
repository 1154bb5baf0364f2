"""Two threads around a loop: one fetches its items ahead of it, one takes its results behind it.

Both are bounded, hand on every exception, and have ended when the loop is left, however it is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def read_ahead(items: Iterator[T], depth: int) -> Iterator[Iterator[T]]:
    """Give an iterator whose next `depth` items are fetched in another thread, one after the other."""
    # One thread makes the executor a queue: items stay in order, and a reader that may be used
    # by one thread at a time is.
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        waiting: deque[Future[T | object]] = deque()

        def fetched() -> Iterator[T]:
            waiting.extend(thread.submit(next, items, end) for _ in range(depth))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]  # everything but the end mark is a T

        try:
            yield fetched()
        finally:
            # What has begun is waited for by the executor; what has not begun never does.
            thread.shutdown(cancel_futures=True)


@contextmanager
def write_behind(consume: Callable[[T], None], depth: int) -> Iterator[Callable[[T], None]]:
    """Give a function that passes things to `consume` in another thread, in order, at most `depth` waiting.

    What `consume` raises comes out of a later call or of leaving the block.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="write-behind") as thread:
        waiting: deque[Future[None]] = deque()

        def put(item: T) -> None:
            if len(waiting) >= depth:
                waiting.popleft().result()
            waiting.append(thread.submit(consume, item))

        try:
            yield put
            for future in waiting:
                future.result()
        finally:
            thread.shutdown(cancel_futures=True)
