"""The process: it listens at once, serves when it can draw, and stops when it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import grpc
import pytest
from avatar.render.v1 import render_pb2, render_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


@pytest.mark.slow
async def test_it_serves_a_face_and_ends_with_0_on_sigterm(data_dir: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "AVATAR_DATA_DIR": str(data_dir),
        "RENDER_PORT": str(port),
        "RENDER_DRAIN__ANNOUNCE_S": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.render", env=env, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="avatar.render.v1.RenderService"), wait_for_ready=True
            )
            async with asyncio.timeout(100):
                while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
                    pass
            watch.cancel()
            render = render_pb2_grpc.RenderServiceStub(channel)
            assert (await render.GetHealth(render_pb2.GetHealthRequest())).engine.name == "mesh"
            still = await render.RenderStill(render_pb2.RenderStillRequest(avatar="avatars/default"))
            assert still.data[:2] == b"\xff\xd8"
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0
        assert b'"event": "engine_chosen"' in log
        assert b"Traceback" not in log
        assert list((data_dir / "compiled").rglob("*.nbi")), "compiled code is kept for the next start"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
