"""What the rendered configuration promises, read from the file that Envoy is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from avatar.conversation.v1 import conversation_pb2
from avatar.render.v1 import render_pb2
from avatar.stt.v1 import stt_pb2
from avatar.tts.v1 import tts_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

ROOT = Path(__file__).resolve().parent.parent.parent


def rendered(out: Path, *arguments: str) -> dict[str, Any]:
    subprocess.run([sys.executable, "envoy/render_config.py", "--out", str(out), *arguments], cwd=ROOT, check=True)
    config: dict[str, Any] = json.loads(out.read_text())
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return rendered(tmp_path_factory.mktemp("config") / "envoy.json", "--bind", "0.0.0.0")


def manager_of(config: dict[str, Any], listener: str) -> dict[str, Any]:
    (found,) = [one for one in config["static_resources"]["listeners"] if one["name"] == listener]
    manager: dict[str, Any] = found["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def routes_of(config: dict[str, Any], listener: str) -> list[dict[str, Any]]:
    routes: list[dict[str, Any]] = manager_of(config, listener)["route_config"]["virtual_hosts"][0]["routes"]
    return routes


METHODS = [
    method
    for file in (conversation_pb2, render_pb2, stt_pb2, tts_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
LISTENER_OF = {"render": "render", "tts": "tts", "stt": "stt", "conversation": "legacy"}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_has_a_route_that_fits_its_kind(config: dict[str, Any], method: MethodDescriptor) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    for listener in (LISTENER_OF[method.full_name.split(".")[1]], "page"):
        route, *others = [one["route"] for one in routes_of(config, listener) if one["match"].get("path") == path]
        assert all(other == route for other in others)
        streams = method.client_streaming or method.server_streaming
        assert (route["timeout"] == "0s") == streams
        assert ("hash_policy" in route) == streams
        if "retry_policy" in route:
            assert not streams
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            # What is read, or made anew from its request alone, may be done twice.
            assert rule.get or method.name in ("Synthesize", "Recognize")


def test_the_admin_port_is_on_loopback_whatever_the_rest_is_bound_to(config: dict[str, Any]) -> None:
    addresses = [one["address"]["socket_address"] for one in config["static_resources"]["listeners"]]
    assert addresses.pop() == {"address": "127.0.0.1", "port_value": 9901}
    assert {one["address"] for one in addresses} == {"0.0.0.0"}
    assert [one["port_value"] for one in addresses] == [8081, 8082, 8083, 8084, 8085, 8086]


@pytest.mark.parametrize("rate", [1, 15, 99])
def test_a_rate_is_the_one_that_was_asked_for(tmp_path: Path, rate: int) -> None:
    config = rendered(tmp_path / "envoy.json", "--connection-calls-per-s", str(rate), "--port-calls-per-s", "0")
    filters = manager_of(config, "tts")["http_filters"]
    (bucket,) = [one["typed_config"]["token_bucket"] for one in filters if "token_bucket" in one["typed_config"]]
    assert bucket["tokens_per_fill"] / float(bucket["fill_interval"].removesuffix("s")) == rate
    assert bucket["max_tokens"] == 2 * rate


def test_replicas_names_and_origins_are_taken_as_given(tmp_path: Path) -> None:
    given = ["--tts-upstream", "tts-1:50082,[fd00::2]:50082", "--name", "avatar.home", "--origin", "https://my.app"]
    config = rendered(tmp_path / "envoy.json", *given)
    (tts,) = [one for one in config["static_resources"]["clusters"] if one["name"] == "tts"]
    replicas = tts["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [one["endpoint"]["address"]["socket_address"]["address"] for one in replicas] == ["tts-1", "fd00::2"]
    text = json.dumps(config)
    assert '"domains": ["avatar.home"]' in text
    assert '"exact": "https://my.app"' in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tts-upstream", "nowhere"), "write host:port, such as 127.0.0.1:50082"),
        (("--tts-port", "70000"), "give a number from 1 to 65535"),
        (("--bind", "everywhere"), "is not an IP address"),
    ],
)
def test_a_bad_argument_is_refused_with_what_would_be_right(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    command = [sys.executable, "envoy/render_config.py", "--out", str(tmp_path / "envoy.json"), *arguments]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert not (tmp_path / "envoy.json").exists()
