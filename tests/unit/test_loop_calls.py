import threading

from kombu.asynchronous import Hub

from messaging.worker.loop_calls import LoopCalls


def test_without_a_loop_calls_run_at_once() -> None:
    calls = LoopCalls()
    seen: list[int] = []
    calls.call(lambda: seen.append(1))
    assert seen == [1]


def test_a_call_from_another_thread_wakes_a_sleeping_loop_and_runs_on_it() -> None:
    hub = Hub()
    calls = LoopCalls()
    calls.attach(hub)
    threads: list[threading.Thread] = []
    done = threading.Event()

    def note() -> None:
        threads.append(threading.current_thread())
        done.set()

    loop = hub.create_loop()
    caller = threading.Thread(target=calls.call, args=(note,))
    caller.start()
    while not done.is_set():
        next(loop)  # sleeps in poll for up to a second where nothing wakes it
    caller.join()
    assert threads == [threading.current_thread()]
    hub.close()


def test_a_call_that_fails_does_not_keep_the_others_from_running() -> None:
    calls = LoopCalls()
    seen: list[int] = []

    def fail() -> None:
        raise ValueError("no")

    calls.attach(Hub())
    calls.call(fail)
    calls.call(lambda: seen.append(1))
    calls.detach()
    assert seen == [1]


def test_what_waits_when_the_loop_ends_still_runs() -> None:
    calls = LoopCalls()
    seen: list[int] = []
    calls.attach(Hub())
    for number in range(100_000):  # far more wake-ups than a pipe holds
        calls.call(lambda number=number: seen.append(number))
    assert seen == []
    calls.detach()
    assert seen == list(range(100_000))
