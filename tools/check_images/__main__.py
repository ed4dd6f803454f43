"""`python -m tools.check_images` reads images and Compose files; with `--build` it makes and starts them, as root.

The first takes seconds and asks the package index; the second takes minutes and wants Debian 12 with debootstrap. With
`--torch REQUIREMENT` the images have the production engines too, and those are imported.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tools.check_images import build, container, dockerfile, static
from tools.check_images.build import BuildError, Image
from tools.check_images.container import Container

# Run in Envoy's container: what people and programs ask of the whole, by the public ports.
_USE = """
import json, ssl, time, urllib.error, urllib.request as web
trust = ssl.create_default_context(cafile="/data/tls/certificate.pem")
def ask(url, body=None):
    request = web.Request(url, body, {"content-type": "application/json"})
    for attempt in range(20):
        try:
            return web.urlopen(request, timeout=60, context=trust).read()
        except urllib.error.HTTPError as error:
            # Envoy asks those behind it every second or two.
            if error.code != 503 or attempt == 19:
                raise
            time.sleep(0.5)
for port in (8081, 8082, 8083, 8084):
    health = json.loads(ask(f"http://localhost:{port}/health"))
    assert health["engine"]["name"], health
    assert b"avatar_ready 1.0" in ask(f"http://localhost:{port}/metrics"), port
assert b"<html" in ask("https://localhost:8085/")
speech = json.loads(ask("http://localhost:8082/v1/speech:synthesize", b'{"text": "Hello"}'))
assert len(speech["audio"]) > 10000, speech
still = ask("http://localhost:8081/v1/avatars/default:renderStill?size=256")
assert still[:2] == bytes([255, 216]), still[:100]
"""
# Whether a production engine's libraries can be used there; of weights, which are not there, nothing is said.
_IMPORTS = {
    "render": "import services.render.engines.liveportrait.engine",
    "tts": """
from pathlib import Path
from services.common.errors import NotReadyError
from services.tts.engines.xtts.engine import XttsEngine
try:
    XttsEngine(Path("/nowhere"), "cpu", 1)
except NotReadyError as missing:
    assert "/nowhere lacks config.json" in str(missing), missing
""",
    "stt": """
import ctypes, platform, tokenizers
if platform.machine() == "aarch64":
    import services.stt.engines.whisper.torch_runtime
else:
    import services.stt.engines.whisper.ctranslate
    ctypes.CDLL("libcublas.so.12")
""",
}


def _static_faults() -> list[str]:
    with tempfile.TemporaryDirectory(prefix="avatar-images-") as scratch:
        parts = (static.compose_faults(), static.reference_faults(), static.dockerfile_faults())
        return list(itertools.chain(*parts, static.arm64_faults(Path(scratch))))


def _built(name: str, work: Path, torch: str) -> Image:
    image = build.build(name, dockerfile.read(static.DOCKERFILES[name]), work, {"TORCH": torch})
    size = build.run(("du", "-sm", str(image.root / "opt"), str(image.root / "app")), "du")
    mebibytes = sum(int(line.split()[0]) for line in size.splitlines())
    print(f"{name}: built; {mebibytes} MiB on top of its base", flush=True)
    return image


def _run_together(images: list[Image], work: Path, *, with_engines: bool) -> None:
    with container.network() as network, contextlib.ExitStack() as held:
        started: dict[str, Container] = {}
        for image in images:
            env = {"CANARY_ENABLED": "true"} if image.name == "envoy" else {}
            started[image.name] = held.enter_context(container.running(image, network, env, work))
        for name, one in started.items():
            print(f"{name}: healthy after {one.wait_until_healthy():.1f} s, not root, on a read-only root", flush=True)
            if with_engines and name in _IMPORTS:
                used = one.execute("python", "-c", _IMPORTS[name])
                if used.returncode:
                    raise BuildError(f"{name}: its production engine cannot be used:\n{used.stdout}{used.stderr}")
                print(f"{name}: the libraries of its production engine can be imported", flush=True)
        if len(images) == len(static.DOCKERFILES):
            used = started["envoy"].execute("python", "-c", _USE)
            if used.returncode:
                raise BuildError(f"the stack runs and does not do its work:\n{used.stdout}{used.stderr}")
            print("together: health, metrics, page, speech and a face by the public ports", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", action="store_true", help="make every image in a fresh Debian and run it, as root")
    parser.add_argument("--image", action="append", choices=static.DOCKERFILES, help="only this one, or these")
    parser.add_argument("--torch", default="", metavar="REQUIREMENT", help="as the build argument TORCH: torch==2.13.0")
    parser.add_argument("--work", type=Path, help="folder for the roots, 5 GB; its base is kept for the next time")
    given = parser.parse_args()
    if faults := _static_faults():
        sys.exit("\n".join(faults))
    print("Compose files, Dockerfiles and the wheels for 64-bit ARM are as they should be", flush=True)
    if not given.build:
        return
    if os.getuid() != 0:
        sys.exit("--build makes and enters root file systems, which only root may")
    with tempfile.TemporaryDirectory(prefix="avatar-images-") as scratch:
        work = given.work or Path(scratch)
        images: list[Image] = []
        try:
            images.extend(_built(name, work, given.torch) for name in given.image or static.DOCKERFILES)
            _run_together(images, work, with_engines=bool(given.torch))
        except BuildError as error:
            sys.exit(str(error))
        finally:
            for image in images:
                shutil.rmtree(image.root)


if __name__ == "__main__":
    main()
