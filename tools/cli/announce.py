"""What `avatar up` tells a person: how far it is, and how to come in."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from tools.cli import lan
from tools.cli.settings import StackSettings
from tools.cli.state import log_file


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raises: BrokenPipeError; it is the command's to end, and an event loop takes no SystemExit out of a task."""
        raise BrokenPipeError


def _console() -> Console:
    """Words are wrapped by us or not at all; addresses must stay whole."""
    return _Console(highlight=False, soft_wrap=True)


class Announcer:
    """Tells how far the stack is, a line for each process."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._console = _console()

    def serves(self, name: str, engine: str, after_s: float) -> None:
        """A process is ready. Args: engine: empty for one that has none."""
        self._console.print(f"  [green]✓[/] {name:14}{engine:14}[dim]{after_s:5.1f} s[/]")

    def ready(self, after_s: float) -> None:
        """Everything is."""
        announce_address(self._settings, after_s, "Ctrl-C ends it.")

    def note(self, sentence: str) -> None:
        """Something that is worth knowing."""
        self._console.print(f"    {escape(sentence)}")

    def gave_up(self, name: str, why: str) -> None:
        """A process ended, and is not started again."""
        print(
            f"{name} ended and is not started again: {why}. Then `avatar down` and `avatar up` bring it back.",
            file=sys.stderr,
            flush=True,
        )

    def ended(self, name: str, status: int, wait_s: float, log: str) -> None:
        """A process ended by itself and is started again."""
        print(
            f"{name} ended with status {status}; starting it again in {wait_s:g} s (its log is {log})",
            file=sys.stderr,
            flush=True,
        )


def announce_address(settings: StackSettings, after_s: float, how_to_end: str) -> None:
    """Say where the page is, and how it is ended."""
    console = _console()
    console.print(
        f"\n  Ready in {after_s:.1f} s. {how_to_end} [dim]Logs: {escape(str(log_file(settings, 'x').parent))}[/]\n"
    )
    if settings.network.lan:
        announce_token(settings)
    else:
        console.print(f"  Open  [bold cyan]https://localhost:{settings.network.page_port}[/]\n")
    console.print(
        "  The browser warns once, because the page's certificate was made on this machine: choose to continue.\n"
        "  Browsers allow the microphone on secure pages only.\n"
    )


def announce_token(settings: StackSettings) -> None:
    """Say how other devices come in; the token itself is for a terminal, not for a log."""
    console = _console()
    urls = lan.page_urls(lan.opened(settings)) or [f"https://localhost:{settings.network.page_port}/"]
    # Square brackets are for IPv6 here, and for colours there.
    first, *others = map(escape, urls)
    if not console.is_terminal:
        console.print(f"  On the network: {first} [dim](`avatar token` prints the token that it asks for)[/]\n")
        return
    token = lan.ensure_token(settings)
    console.print(
        f"  Open, on this machine or any other of your network:\n\n  [bold cyan]{first}?token={escape(token)}[/]\n"
    )
    print("\n".join(f"    {line}" for line in lan.code(f"{urls[0]}?token={token}").splitlines()), flush=True)
    if others:
        console.print(f"\n  [dim]Other addresses of this machine: {', '.join(others)}[/]")
    page = settings.network.page_port
    host = first.removeprefix("https://").removesuffix("/").rpartition(":")[0]
    console.print(
        f"\n  Programs send the token with every call, on every port:\n\n"
        f"    [cyan]curl http://{host}:{settings.network.tts_port}/v1/voices "
        f'-H "Authorization: Bearer TOKEN"[/]\n\n'
        f"  [yellow]Only {page} is encrypted.[/] The other ports carry the token in clear text: where you do not\n"
        f"  trust the network, use {page}, which serves the same JSON and gRPC by TLS.\n"
    )
