"""A Python service with pyroscope-io inside: three functions share the CPU 60/30/10."""

import random
import sys
import time

import pyroscope


def spin(units):
    total = 0
    for i in range(units * 4_000):
        total = (total * 31 + i) & 0xFFFF
    return total


def sixty(length):
    return spin(60 * length)


def thirty(length):
    return spin(30 * length)


def ten(length):
    return spin(10 * length)


pyroscope.configure(
    application_name="interop.python",
    server_address=sys.argv[1],
    sample_rate=100,
    tags={"zone": "eu-1"},
    oncpu=True,
    gil_only=True,
)
with pyroscope.tag_wrapper({"route": "/spin"}):
    # Of CPU: a busy machine makes it wait longer, and nothing else.
    while time.process_time() < float(sys.argv[2]):
        # Rounds of many samples, so that few are left to chance; of one length they would keep step with a profiler's clock.
        length = random.randint(1, 9)
        sixty(length)
        thirty(length)
        ten(length)
pyroscope.shutdown()
time.sleep(1)
