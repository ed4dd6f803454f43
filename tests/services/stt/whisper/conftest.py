"""Tiny models and their tokens, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.stt.engines.whisper.vocabulary import Vocabulary, read_vocabulary
from tests.services.stt.whisper import tiny_models


@pytest.fixture(scope="session")
def made() -> tiny_models.Weights:
    return tiny_models.weights(tiny_models.tokenizer())


@pytest.fixture(scope="session")
def transformers_folder(tmp_path_factory: pytest.TempPathFactory, made: tiny_models.Weights) -> Path:
    return tiny_models.build_transformers(tmp_path_factory.mktemp("whisper") / "transformers", made)


@pytest.fixture(scope="session")
def ctranslate2_folder(tmp_path_factory: pytest.TempPathFactory, made: tiny_models.Weights) -> Path:
    return tiny_models.build_ctranslate2(tmp_path_factory.mktemp("whisper") / "ctranslate2", made)


@pytest.fixture(scope="session")
def vocabulary(transformers_folder: Path) -> Vocabulary:
    return read_vocabulary(transformers_folder / "tokenizer.json", is_multilingual=True)
