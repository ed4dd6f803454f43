"""Writes docs/api and Envoy's OpenAPI documents from the contract; with --check, says whether they are up to date."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.api_docs import contract, openapi, overview, reference

ROOT = Path(__file__).resolve().parent.parent


def made() -> dict[Path, str]:
    """Every file, by its path below the project's folder."""
    loaded = contract.load()
    files = {Path("docs/api/README.md"): overview.text()}
    for page in reference.PAGES:
        files[Path(f"docs/api/{page.area}.md")] = reference.page_text(loaded, page)
    for port in openapi.PORTS:
        text = json.dumps(openapi.document(loaded, port), indent=1, ensure_ascii=False)
        files[Path(f"envoy/openapi/{port.listener}.json")] = text + "\n"
    return files


def stale(root: Path = ROOT) -> list[Path]:
    """Files that are missing, old, or that nothing makes any more."""
    files = made()
    found = {path.relative_to(root) for folder in ("docs/api", "envoy/openapi") for path in (root / folder).glob("*")}
    old = [path for path, text in files.items() if path not in found or (root / path).read_text() != text]
    return sorted([*old, *(found - files.keys())])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    if parser.parse_args().check:
        for path in stale():
            print(f"{path} is not what tools/gen_api_docs.py makes; run it and commit the result", file=sys.stderr)
        return 1 if stale() else 0
    for path, text in made().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
