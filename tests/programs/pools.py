"""Processes and threads that pass objects, large buffers that grow, and a fork while threads run."""
import concurrent.futures
import hashlib
import multiprocessing
import os
import threading


def work(seed):
    table = {}
    for i in range(20000):
        table.setdefault('key%d' % ((i * 7919 + seed) % 997), []).append(str(i) * (i % 9))
    return hashlib.sha256(repr(sorted(table.items())).encode()).hexdigest()


def grow():
    buffer = bytearray()
    for i in range(2000):
        buffer += bytes([i % 256]) * (i * 7)
    del buffer[1000:]
    return len(buffer)


def forks(stop):
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if work(1) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()


if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(3) as pool:
        print('\n'.join(pool.map(work, range(9))))
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        print('\n'.join(executor.map(work, range(6))))
        print(list(executor.map(lambda _: grow(), range(4))))
    ended = threading.Event()
    others = [threading.Thread(target=lambda: [work(2) for _ in iter(ended.is_set, True)])
              for _ in range(2)]
    for thread in others:
        thread.start()
    forks(ended)
    for thread in others:
        thread.join()
