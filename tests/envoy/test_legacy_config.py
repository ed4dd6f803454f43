"""The older stack's routes in the configuration that Envoy is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from avatar.render.v1 import legacy_pb2 as render
from avatar.stt.v1 import legacy_pb2 as stt
from avatar.tts.v1 import legacy_pb2 as tts
from google.api import annotations_pb2

from tests.stack import ROOT


def contract(area: Any) -> tuple[set[tuple[str, str]], set[str]]:
    """Paths with their methods, and gRPC methods, as the contract says them."""
    paths: set[tuple[str, str]] = set()
    methods: set[str] = set()
    for service in area.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            paths.add((rule.get, "GET") if rule.get else (rule.post, "POST"))
            methods.add(f"/{service.full_name}/{method.name}")
    return paths, methods


@pytest.mark.parametrize(
    ("listener", "area"),
    [("render", render), ("tts", tts), ("stt", stt), ("stt_second", stt), ("page", None), ("legacy", None)],
)
def test_every_port_has_the_paths_of_the_contract(tmp_path: Path, listener: str, area: Any) -> None:
    out = tmp_path / "envoy.json"
    subprocess.run([sys.executable, "envoy/render_config.py", "--out", str(out)], cwd=ROOT, check=True)
    listeners = json.loads(out.read_text())["static_resources"]["listeners"]
    (found,) = [one for one in listeners if one["name"] == listener]
    manager = found["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    matches = [route["match"] for route in routes if "path" in route["match"]]
    headers = [(one["path"], header) for one in matches for header in one.get("headers", [])]
    by_method = {(path, one["string_match"].get("exact")) for path, one in headers if one["name"] == ":method"}
    of_grpc = {one["path"] for one in matches if ".Legacy" in one["path"]}
    older = set().union(*(contract(one)[0] for one in (render, tts, stt)))
    assert (by_method & older, of_grpc) == (contract(area) if area else (set(), set()))
