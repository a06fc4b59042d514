"""What the tests share: how to skip, to wait, to compare, to write and to read back, and company for a good client."""
import contextlib
import multiprocessing
import time

from lib.protocol import Client, batch


class Skip(Exception):
    """The test cannot run here; why."""


def expect(found, wanted, what=''):
    assert found == wanted, f'{what + ": " if what else ""}{found!r:.400} instead of {wanted!r:.400}'


def wait_until(claim, what, seconds=20):
    """Asks every ten milliseconds."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, f'not within {seconds} s: {what}'
        time.sleep(0.01)


def client(broker, **more):
    return Client(broker.host, broker.port, **more)


def value_of(word, i, size=0):
    text = f'{word}-{i}-'.encode()
    return text + b'.' * max(0, size - len(text))


def write(broker, topic, word, count, size=0, partition=0, each=1):
    """count batches of `each` records, one after another."""
    with client(broker) as c:
        for i in range(count):
            c.produce(topic, partition, batch([value_of(word, i * each + k, size) for k in range(each)]))


def expect_all(broker, topic, word, count, size=0, partition=0):
    with client(broker) as c:
        found = c.read_all(topic, partition)
    expect(len(found), count, f'records of {topic}-{partition}')
    for i, (offset, _, value) in enumerate(found):
        expect((offset, value), (i, value_of(word, i, size)), f'record {i}')


@contextlib.contextmanager
def beside(broker, hostile):
    """hostile((host, port), stop) runs in a process of its own until the end."""
    stop = multiprocessing.Event()
    process = multiprocessing.Process(target=hostile, args=((broker.host, broker.port), stop), daemon=True)
    process.start()
    try:
        yield
        assert process.is_alive(), f'{hostile.__name__} has ended by itself: status {process.exitcode}'
    finally:
        stop.set()
        process.join(20)
        if process.is_alive():
            process.kill()


def percentile(times, share):
    return sorted(times)[int(len(times) * share)]


def rss_kib(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmRSS'))
