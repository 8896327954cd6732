"""What waits to be written: in order, bounded, and what finds no room is counted."""

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.watching.write_queue import Item, WriteQueue


def item(step, nbytes=100, what="scalars"):
    return Item(what, step, nbytes, (step,))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=40), st.integers(100, 2000))
def test_everything_given_comes_out_in_order_or_is_counted(sizes, room):
    queue = WriteQueue(room)
    taken = [step for step, nbytes in enumerate(sizes) if queue.put(item(step, nbytes))]
    queue.close()
    assert not queue.put(item(1000))
    items, missed, ended = queue.take(0.0)
    assert [each.step for each in items] == taken
    assert sum(each.nbytes for each in items) <= room
    assert missed.counts.get("scalars", 0) == len(sizes) - len(taken)
    if missed.counts:
        lost = sorted(set(range(len(sizes))) - set(taken))
        event = missed.event()
        assert (event.kind, event.data["first"], event.data["last"]) == ("thinned", lost[0], lost[-1])
    assert ended == (not taken)


def test_what_is_written_makes_room():
    queue = WriteQueue(250)
    assert [queue.put(item(step)) for step in range(3)] == [True, True, False]
    assert queue.put(item(3), room=1.5), "events find room where numbers don't"
    items, _, _ = queue.take(0.0)
    queue.done(items)
    assert queue.put(item(4))


def test_items_of_the_newest_step_wait_for_more_about_it():
    queue = WriteQueue(10_000)
    for each in (item(0), item(1), item(None, what="event"), item(1)):
        queue.put(each)
    first, _, _ = queue.take(0.0)
    queue.put(item(1))
    queue.put(item(2))
    second, _, _ = queue.take(0.0)
    assert [each.step for each in first] == [0]
    assert [each.step for each in second] == [1, None, 1, 1]


def test_flush_hurries_the_one_who_writes_and_waits_for_it():
    queue, written = WriteQueue(10_000), []

    def write():
        while not queue.closing:
            items, _, _ = queue.take(60.0)
            written.extend(each.step for each in items)
            queue.done(items)

    thread = threading.Thread(target=write)
    thread.start()
    queue.put(item(0))
    assert queue.flush(timeout=30.0), "it waits for more to gather"
    assert written == [0]
    queue.close()
    thread.join()


def test_who_stops_drops_what_waits():
    queue = WriteQueue(10_000)
    queue.put(item(0))
    queue.stop()
    assert not queue.flush(timeout=30.0)
    assert queue.take(0.0)[0] == []
