"""Tasks that do nothing through huey on SQLite: `HUEY_FILE=… huey_queue.py TASKS`.

Started by `bench/run peers` with a Python that has huey. WAL and `synchronous=FULL`, as adce's state. Prints one line of
JSON: seconds until all are enqueued, and from the first one that is fetched until none is left.
"""

import json
import os
import subprocess
import sys
import time

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ["HUEY_FILE"], fsync=True, results=False)


@huey.task()
def noop(number):
    pass


def enqueue(tasks):
    began = time.perf_counter()
    for number in range(tasks):
        noop(number)
    return time.perf_counter() - began


def drain(tasks):
    consumer = os.path.join(os.path.dirname(sys.executable), "huey_consumer")
    command = [consumer, "huey_queue.huey", "--workers", "2", "--worker-type", "thread", "--quiet", "--delay", "0.01", "--no-periodic"]
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while huey.storage.queue_size() == tasks:
            if child.poll() is not None:
                sys.exit(f"the consumer ended with {child.returncode}")
            time.sleep(0.005)
        began = time.perf_counter()
        while huey.storage.queue_size() > 0:
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    # Under the name that the consumer knows the task by.
    import huey_queue

    count = int(sys.argv[1])
    print(json.dumps({"enqueued": huey_queue.enqueue(count), "drained": huey_queue.drain(count)}))
