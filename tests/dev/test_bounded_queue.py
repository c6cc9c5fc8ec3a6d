from __future__ import annotations

import threading

from statefun_flask.dev.bounded_queue import BoundedQueue


def test_items_are_taken_in_their_order() -> None:
    queue: BoundedQueue[str] = BoundedQueue(10)
    queue.put("a", 5)
    queue.put("b", 5)
    assert queue.take() == (0, ["a", "b"], False)
    assert queue.take(0) == (0, [], False)


def test_the_oldest_items_are_dropped_and_counted() -> None:
    queue: BoundedQueue[str] = BoundedQueue(10)
    for item in "abcd":
        queue.put(item, 4)
    assert queue.size == 8
    assert queue.take() == (2, ["c", "d"], False)
    queue.put("large", 100)
    assert queue.take() == (0, ["large"], False)


def test_a_writer_that_waits_drops_nothing() -> None:
    queue: BoundedQueue[int] = BoundedQueue(3)

    def write() -> None:
        for number in range(100):
            queue.put(number, 1, wait=True)
        queue.close()

    writer = threading.Thread(target=write)
    writer.start()
    found: list[int] = []
    closed = False
    while not closed:
        taken = queue.take(10)
        assert taken.missed == 0
        assert len(taken.items) <= 3
        found += taken.items
        closed = taken.closed
    writer.join()
    assert found == list(range(100))


def test_a_waiting_writer_continues_when_the_queue_is_closed() -> None:
    queue: BoundedQueue[int] = BoundedQueue(1)
    queue.put(1, 1)
    writer = threading.Thread(target=lambda: queue.put(2, 1, wait=True), daemon=True)
    writer.start()
    queue.close()
    writer.join(10)
    assert not writer.is_alive()
    assert queue.take() == (1, [2], True)
