"""Ends with 0 if the process of a section is ready now: what a container's health check runs."""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.settings import address_of

_TIMEOUT_S = 5.0


def is_ready(address: str) -> bool:
    """Whether the server's gRPC health says SERVING: its engine has answered a request, and it is not stopping."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if is_ready(address_of(sys.argv[1])) else 1)
