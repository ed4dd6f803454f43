"""`avatar models`: lists, fetches and verifies the models of the production engines, and says where they lie."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from services.common import model_manifest, model_pull
from services.common.errors import InvalidRequestError, NotReadyError
from services.common.model_hub import Hub
from services.common.model_manifest import HubFile, Licence, Model, companions, find
from services.common.model_pull import Licences
from services.common.model_store import ModelState, ModelStore, check_file, pull_command
from services.common.settings import Settings, read


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    models = commands.add_parser("models", help="the models of the production engines: fetch them, verify them")
    actions = models.add_subparsers(required=True, metavar="action")

    listing = actions.add_parser("list", help="what there is, how large, under which licence, and whether it is here")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=_list)

    pulling = actions.add_parser("pull", help="fetch models, or what is missing or damaged of them")
    pulling.add_argument("names", nargs="+", metavar="NAME", help="as `avatar models list` names it")
    pulling.add_argument(
        "--accept-licence",
        action="append",
        default=[],
        metavar="LICENCE",
        help="say yes to a licence without being asked, as `avatar models list` names it; may be repeated",
    )
    pulling.set_defaults(run=_pull)

    verifying = actions.add_parser("verify", help="read every file and compare its hash; exits with 1 if one is wrong")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="without one, all that are here")
    verifying.add_argument("--dir", type=Path, help="another folder than the data directory's, with the same files")
    verifying.set_defaults(run=_verify)

    where = actions.add_parser("path", help="print the folder of a model; exits with 1 if it is not complete")
    where.add_argument("name", metavar="NAME")
    where.set_defaults(run=_path)


def _list(given: argparse.Namespace) -> None:
    data_dir = read(Settings).data_dir
    store, licences = ModelStore(data_dir), Licences(data_dir)
    if given.json:
        rows = [_row(model, store, licences) for model in model_manifest.MODELS]
        print(json.dumps(rows, indent=2))
        return
    for model in model_manifest.MODELS:
        licence = model.licence
        must = "" if licences.are_accepted(licence) else f"; has to be accepted, as {licence.name}"
        optional = f" (optional, for {model.companion_of})" if model.companion_of else ""
        print(f"{model.name}{optional}: {model.purpose}")
        print(f"    for {model.service}, {size_words(model.size_bytes)}, licence {licence.title} ({licence.url}){must}")
        print(f"    {_words(model, store.state(model))}")


def _row(model: Model, store: ModelStore, licences: Licences) -> dict[str, Any]:
    state, licence = store.state(model), model.licence
    return {
        "name": model.name,
        "service": model.service,
        "purpose": model.purpose,
        "optional_for": model.companion_of,
        "size_bytes": model.size_bytes,
        "here_bytes": state.here_bytes,
        "licence": {
            "name": licence.name,
            "title": licence.title,
            "url": licence.url,
            "needs_yes": licence.needs_yes,
            "accepted": licences.are_accepted(licence),
        },
        "complete": state.is_complete,
        "verified_at": None if state.verified_at is None else state.verified_at.isoformat(),
        "folder": str(store.folder(model)),
        "files": state.files,
    }


def _words(model: Model, state: ModelState) -> str:
    """Whether it is here, and what to do if not."""
    if state.verified_at is not None:
        return f"here, verified on {state.verified_at:%Y-%m-%d}"
    if state.is_complete:
        return f"here, not verified: avatar models verify {model.name}"
    if "damaged" in state.files.values():
        return f"damaged, repaired by: {pull_command(model)}"
    if state.here_bytes:
        return f"{100 * state.here_bytes // model.size_bytes} % is here, the rest by: {pull_command(model)}"
    return f"not here, fetched by: {pull_command(model)}"


def _pull(given: argparse.Namespace) -> None:
    data_dir = read(Settings).data_dir
    asked = [find(name) for name in dict.fromkeys(given.names)]
    optional = [other for model in asked for other in companions(model) if other not in asked]
    licences = Licences(data_dir)
    _accept(given.accept_licence, [*asked, *optional], licences)

    store = ModelStore(data_dir)
    wanted: list[Model] = []
    for model in (*asked, *optional):
        if store.state(model).verified_at is not None:
            print(f"{model.name} is here, in {store.folder(model)}")
        elif _agrees(model, licences, is_optional=model in optional):
            licences.check(model)
            wanted.append(model)
    if not wanted:
        return
    fetch(wanted, data_dir, Hub.from_environment(os.environ))


def fetch(models: Sequence[Model], data_dir: Path, hub: Hub) -> None:
    """Fetch models one after the other, and tell how far it is. Raises: as `model_pull.pull`."""
    store = ModelStore(data_dir)
    for model in models:
        try:
            with _progress(model, store) as progress:
                model_pull.pull(model, data_dir, hub, progress)
        except KeyboardInterrupt:
            print(f"\nwhat has come is kept; `{pull_command(model)}` goes on from there", file=sys.stderr)
            raise
        print(f"{model.name} is here and verified, in {store.folder(model)}")


def _accept(names: list[str], models: list[Model], licences: Licences) -> None:
    """Keep what was accepted on the command line. Raises: InvalidRequestError if nothing that is asked for needs it."""
    needed = {model.licence.name: model.licence for model in models if model.licence.needs_yes}
    for name in names:
        if name not in needed:
            there_are = f"what does is {', '.join(needed)}" if needed else "none does"
            raise InvalidRequestError(f"no licence {name} has to be accepted for this; {there_are}")
        licences.accept(needed[name], dt.datetime.now(dt.UTC))


def _agrees(model: Model, licences: Licences, *, is_optional: bool) -> bool:
    """Show a licence, and ask where it has to be accepted and somebody is there to ask.

    Returns: whether to fetch the model. One that was asked for by name is refused by the pull, which says why.
    """
    describe(model)
    if licences.are_accepted(model.licence):
        return True
    if sys.stdin.isatty() and sys.stdout.isatty():
        if _says_yes(model.licence):
            licences.accept(model.licence, dt.datetime.now(dt.UTC))
            return True
    elif is_optional:
        print(f"  {pull_command(model)} --accept-licence {model.licence.name} accepts it and fetches the model.")
    if is_optional:
        print(f"  Left out: {model.without}.")
    return not is_optional


def describe(model: Model) -> None:
    """Tell a person what a model is, how large, and what its licence allows."""
    print(f"{model.name}: {size_words(model.size_bytes)}, {model.purpose}")
    print(f"  licence: {model.licence.title} ({model.licence.url})")
    print(f"  It allows {model.licence.allows}.")


def _says_yes(licence: Licence) -> bool:
    try:
        return input(f"  Do you accept {licence.title}? Type yes or no: ").strip().lower() == "yes"
    except EOFError:
        print()
        return False


def _verify(given: argparse.Namespace) -> None:
    store = ModelStore(read(Settings).data_dir)
    models = [find(name) for name in given.names]
    if not models:
        if given.dir is not None:
            raise InvalidRequestError(
                "--dir is the folder of one model; name it too, as in `verify liveportrait --dir`"
            )
        models = [model for model in model_manifest.MODELS if set(store.state(model).files.values()) != {"missing"}]
    if not models:
        print("no model is here; `avatar models list` shows those that there are")
    wrong = [sentence for model in models for sentence in _verified(model, store, given.dir)]
    if wrong:
        raise NotReadyError("; ".join(wrong))


def _verified(model: Model, store: ModelStore, folder: Path | None) -> list[str]:
    """Read a model and tell each file's state. Returns: what is wrong, as a sentence, or nothing."""
    wrong: list[str] = []
    for file in model.files:
        if folder is None:
            state = store.verify(model, file, dt.datetime.now(dt.UTC))
        else:
            state = check_file(folder / file.path, file)
        print(f"{state:10}{folder or store.folder(model)}/{file.path}", flush=True)
        if state != "verified":
            wrong.append(file.path)
    if not wrong:
        return []
    count = f"{len(wrong)} of {len(model.files)} files of {model.name} {'is' if len(wrong) == 1 else 'are'}"
    if folder is None:
        return [f"{count} missing or damaged; `{pull_command(model)}` fetches what is wrong"]
    return [
        f"{count} missing in {folder} or not the pinned ones; `{pull_command(model)}` fetches them to "
        f"{store.folder(model)}"
    ]


def _path(given: argparse.Namespace) -> None:
    print(ModelStore(read(Settings).data_dir).complete_folder(given.name))


def size_words(size_bytes: int) -> str:
    """A size for people, such as "671 MB"."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


class _Lines:
    """Tells how far a pull is where nobody watches: a line now and then."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def at(self, file: HubFile, here_bytes: int) -> None:
        quarter = 4 * here_bytes // file.size_bytes
        if quarter != self._told.get(file.path) and here_bytes < file.size_bytes:
            self._told[file.path] = quarter
            share = 100 * here_bytes // file.size_bytes
            print(f"{file.path}: {share} % of {size_words(file.size_bytes)}", flush=True)

    def placed(self, file: HubFile) -> None:
        print(f"{file.path}: here, and its hash is right", flush=True)

    def pauses(self, why: str, pause_s: float) -> None:
        print(f"{why}; trying again in {pause_s:.0f} s", flush=True)

    def waits(self) -> None:
        print("another process fetches it; waiting for that one", flush=True)


class _Bar(_Lines):
    """Tells it at a terminal."""

    def __init__(self, bar: Progress, model: Model, state: ModelState) -> None:
        super().__init__()
        self._bar = bar
        self._here = {
            file.path: file.size_bytes for file in model.files if state.files[file.path] in ("verified", "unverified")
        }
        self._task = bar.add_task(model.name, total=model.size_bytes, completed=sum(self._here.values()))

    def at(self, file: HubFile, here_bytes: int) -> None:
        self._here[file.path] = here_bytes
        self._bar.update(self._task, completed=sum(self._here.values()), description=Path(file.path).name)


@contextlib.contextmanager
def _progress(model: Model, store: ModelStore) -> Iterator[_Lines]:
    """A bar at a terminal, lines otherwise."""
    if not sys.stdout.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        yield _Bar(bar, model, store.state(model))
