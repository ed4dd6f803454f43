"""Times as `google.protobuf.Duration`, made from counts so that they never drift."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

_NANOS = 1_000_000_000


def duration_of(count: int, rate_hz: int) -> Duration:
    """The time that `count` samples (or frames) take at `rate_hz`, rounded down to the nanosecond."""
    nanos = count * _NANOS // rate_hz
    return Duration(seconds=nanos // _NANOS, nanos=nanos % _NANOS)


def duration_of_s(seconds: float) -> Duration:
    """A time that was measured, not counted."""
    return duration_of(round(seconds * _NANOS), _NANOS)


def seconds_of(duration: Duration) -> float:
    """The time in seconds."""
    return duration.seconds + duration.nanos / _NANOS


def samples_of(duration: Duration, rate_hz: int) -> int:
    """The sample (or frame) that is nearest to the time."""
    return round((duration.seconds * _NANOS + duration.nanos) * rate_hz / _NANOS)
