import threading

import pytest

from vrx.pipeline.channel import AbortedError, Channel


def test_order_is_kept_and_the_bound_holds() -> None:
    channel: Channel[int] = Channel(2)
    longest = 0

    def fill() -> None:
        nonlocal longest
        for number in range(200):
            channel.put(number)
            longest = max(longest, len(channel))
        channel.close()

    thread = threading.Thread(target=fill)
    thread.start()
    assert list(channel) == list(range(200))
    thread.join()
    assert longest <= 2


def test_abort_wakes_a_waiting_writer_and_a_waiting_reader() -> None:
    for waiting in ("put", "get"):
        channel: Channel[int] = Channel(1)
        if waiting == "put":
            channel.put(0)
        woken = threading.Event()

        def wait(channel: Channel[int] = channel, waiting: str = waiting, woken: threading.Event = woken) -> None:
            with pytest.raises(AbortedError):
                if waiting == "put":
                    channel.put(1)
                else:
                    next(iter(channel))
            woken.set()

        thread = threading.Thread(target=wait)
        thread.start()
        channel.abort()
        thread.join(10)
        assert woken.is_set()


def test_a_closed_channel_gives_the_rest_and_takes_no_more() -> None:
    channel: Channel[int] = Channel(3)
    channel.put(1)
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        channel.put(2)
    assert list(channel) == [1]
    assert list(channel) == []


def test_an_aborted_channel_takes_nothing() -> None:
    channel: Channel[int] = Channel(1)
    channel.abort()
    with pytest.raises(AbortedError):
        channel.put(1)


def test_a_channel_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        Channel(0)
