"""A Python service with pyroscope-io inside: three functions share the CPU 60/30/10."""

import sys
import time

import pyroscope


def spin(units):
    total = 0
    for i in range(units * 2_000):
        total = (total * 31 + i) & 0xFFFF
    return total


def sixty():
    return spin(60)


def thirty():
    return spin(30)


def ten():
    return spin(10)


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
        sixty()
        thirty()
        ten()
pyroscope.shutdown()
time.sleep(1)
