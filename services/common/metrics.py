"""What a process counts and times, for Prometheus: `/metrics` on an HTTP port of its own.

Names follow https://prometheus.io/docs/practices/naming/; those of calls are the ones that gRPC dashboards know. Labels
are names of our own, never anything that a caller chose. A restart shows in `process_start_time_seconds`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

# A unary call takes milliseconds, a conversation's stream an hour.
_CALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
# A frame has 40 ms, a listener notices 100.
_ENGINE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)

_METHOD = ("grpc_service", "grpc_method")
CALLS_STARTED = Counter("grpc_server_started", "Calls that began.", _METHOD)
CALLS_HANDLED = Counter("grpc_server_handled", "Calls that ended, by status.", (*_METHOD, "grpc_code"))
CALL_SECONDS = Histogram(
    "grpc_server_handling_seconds", "From a call's beginning to its end.", _METHOD, buckets=_CALL_BUCKETS_S
)
CALLS_ACTIVE = Gauge("grpc_server_calls_active", "Calls that run now; streams are calls.", _METHOD)
STREAMS_LIMIT = Gauge("avatar_streams_limit", "Streams that this process serves at once (max_streams).")
READY = Gauge("avatar_ready", "1 while the process is open for calls: its engine has answered, and it is not stopping.")
MODEL_WAIT_SECONDS = Histogram(
    "avatar_model_wait_seconds", "What a model call waits for its thread.", ("thread",), buckets=_ENGINE_BUCKETS_S
)
MODEL_SECONDS = Histogram(
    "avatar_model_seconds", "What a model call takes on its thread.", ("thread",), buckets=_ENGINE_BUCKETS_S
)
MODEL_CALLS_REFUSED = Counter(
    "avatar_model_calls_refused", "Model calls that were refused because too many waited.", ("thread",)
)


@contextlib.contextmanager
def served(host: str, port: int) -> Iterator[None]:
    """Answer `GET /metrics` on a thread of its own, so that a stalled event loop can still be seen.

    Args: port: 0 serves nothing.
    Raises: RuntimeError if the port is taken.
    """
    if port == 0:
        yield
        return
    # One more series for each that says when it began, which Prometheus takes for values.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        server, thread = start_http_server(port, host)
    except OSError as taken:
        raise RuntimeError(
            f"metrics cannot be served at {host}:{port} ({taken.strerror}); "
            "choose another metrics_port, or 0 to serve none"
        ) from taken
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
