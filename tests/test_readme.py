"""Every command of the README and of the documents works as it stands, and every figure is in a record."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import documents
from tests.conversing import Conversing, conversing
from tests.stack import ROOT

# Its commands change the machine; tests of their own read the files that they are about.
OF_THE_MACHINE = ROOT / "docs/deployment.md"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_COMMANDS = [
    path
    for path in DOCUMENTS
    if path != OF_THE_MACHINE and any(one.language == "sh" and not one.not_run for one in documents.blocks(path))
]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def git_ignored(names: set[str]) -> set[str]:
    command = ["git", "check-ignore", *names]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def product(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Conversing]:
    async with conversing(tmp_path_factory.mktemp("product")) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("document", WITH_COMMANDS, ids=named)
async def test_every_command_of_a_document_works(document: Path, product: Conversing, tmp_path: Path) -> None:
    printed = await documents.run(document, tmp_path, product.stack.ports, product.env)
    written = {path.name for path in tmp_path.iterdir()}
    ignored = await asyncio.to_thread(git_ignored, written)
    assert written == ignored, "somebody who tries this in a clone has files that git would add"
    if document.name == "README.md" and document.parent == ROOT:
        # What a stranger sees first is the right transcript, by the command and by the older route.
        assert printed.count("one two three four five") == 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_and_pictures_lead_to_files_that_are_there(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)|<img [^>]*src=\"([^\"]+)\"", text):
        path = (target[0] or target[1]).partition("#")[0]
        if path and not path.startswith(("https://", "http://")):
            assert (document.parent / path).exists(), f"{named(document)} links to {path}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_are_shell_and_programs_are_python(document: Path) -> None:
    for block in documents.blocks(document):
        assert block.language in ("sh", "python", "diff", "json", "mermaid", "text", "toml", "ini", "yaml", ""), (
            block.place
        )
        if block.language == "sh":
            checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, f"{block.place}: {checked.stderr}"
        if block.language == "python":
            ast.parse(block.text)


@pytest.mark.parametrize("target", ["run", "test"])
def test_the_two_commands_are_there(target: str) -> None:
    assert re.search(rf"^make {target}\b", (ROOT / "README.md").read_text(), re.M)
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for page in [*sorted((ROOT / "docs").glob("*.md")), ROOT / "docs/api/README.md"]:
        if page.name != "README.md" or page.parent.name == "api":
            assert f"]({page.relative_to(ROOT / 'docs')})" in index, page


def test_the_figures_are_those_of_the_records_that_they_name() -> None:
    subprocess.run([sys.executable, "tools/measured_table.py", "--check"], cwd=ROOT, check=True)


def test_a_picture_is_small_enough_to_be_seen_at_once() -> None:
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".png", ".jpg", ".webp", ".gif")]
    assert pictures
    assert all(path.stat().st_size < 300_000 for path in pictures)


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_the_assistant_of_the_document_answers_what_is_said(product: Conversing, tmp_path: Path) -> None:
    """Runs the program as it stands, types a turn, and waits until its answer is heard."""
    (block,) = [one for one in documents.blocks(ROOT / "docs/connect-your-assistant.md") if one.language == "python"]
    assert block.file == "assistant.py"
    (tmp_path / block.file).write_text(documents.with_ports(block.text, product.stack.ports))
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        sys.executable, "assistant.py", cwd=tmp_path, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert b"follows conversations/" in await program.stdout.readline()
            await product.person.types("the weather is fine")
            assert await product.person.hears("You said") == "You said: the weather is fine."
            assert await product.person.hears() == "How nice!"
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        await program.wait()
