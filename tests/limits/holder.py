"""A client that takes all places of a service, says so, and does nothing until it is killed: argv is name and port."""

from __future__ import annotations

import queue
import signal
import sys

import grpc

from tests.limits.refusals import STARTS, streaming_on
from tests.limits.world import MAX_STREAMS


def main() -> None:
    name, port = sys.argv[1], sys.argv[2]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    calls = []
    for _ in range(MAX_STREAMS):
        requests: queue.SimpleQueue[object] = queue.SimpleQueue()
        requests.put(STARTS[name])
        # A call that nobody refers to ends.
        calls.append(streaming_on(channel, name)(iter(requests.get, None)))
        assert next(calls[-1]).HasField("started")
    print("held", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
