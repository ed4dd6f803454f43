"""Runs Envoy alone, as the settings say: what the container of the public side starts, and its health check asks."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys

from services.common.settings_file import SettingsError
from tools.cli import processes
from tools.cli.settings import StackSettings, read_all

_TIMEOUT_S = 5.0


def is_ready(settings: StackSettings) -> bool:
    """Whether Envoy has its configuration and takes calls."""
    admin = http.client.HTTPConnection("127.0.0.1", settings.network.admin_port, timeout=_TIMEOUT_S)
    try:
        admin.request("GET", "/ready")
        return admin.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        admin.close()


def start(settings: StackSettings) -> None:
    """Write what Envoy reads, and become it. Calls are logged to the standard output."""
    (settings.data_dir / "run").mkdir(parents=True, exist_ok=True)
    for command in processes.envoy_files(settings, log_calls_to_file=False):
        if status := subprocess.run(command, cwd=processes.ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
            sys.exit(status)
    envoy = processes.stack(settings)[-1]
    os.chdir(processes.ROOT)
    os.execv(envoy.command[0], envoy.command)  # noqa: S606 - it takes this process's place, and its signals


def main() -> None:
    try:
        settings = read_all()
    except SettingsError as error:
        sys.exit(str(error))
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if is_ready(settings) else 1)
    start(settings)


if __name__ == "__main__":
    main()
