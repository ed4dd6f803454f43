"""Whisper by CTranslate2: int8 on a CPU, and CUDA where its build has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError, NotReadyError, first_line
from services.stt.engines.whisper.files import ModelFolder, read_json
from services.stt.engines.whisper.mel import log_mel
from services.stt.engines.whisper.runtime import Decoded, Prompt
from services.stt.engines.whisper.vocabulary import Vocabulary

_CPU_BATCH = 4
_CUDA_BATCH = 16


def has_cuda() -> bool:
    """Whether this build of the library has CUDA, and there is a device."""
    return int(ctranslate2.get_cuda_device_count()) > 0


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Encoder states, shape (batch, 1500, width), in the main memory, where they can be picked from."""

    states: NDArray[Any]

    def of(self, items: list[int]) -> ctranslate2.StorageView:
        return ctranslate2.StorageView.from_array(np.ascontiguousarray(self.states[items]))


class CTranslate2Runtime:
    """A model in CTranslate2's layout, as `Runtime`."""

    def __init__(
        self, folder: ModelFolder, vocabulary: Vocabulary, device: str, compute_type: str, threads: int
    ) -> None:
        """Args: device: cpu or cuda; compute_type: as the library names it; threads: of the CPU.

        Raises: NotReadyError if it cannot be loaded, in a sentence.
        """
        self._vocabulary = vocabulary
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder.path), device=device, compute_type=compute_type, intra_threads=threads, inter_threads=1
            )
        except (RuntimeError, ValueError) as unusable:
            raise NotReadyError(f"CTranslate2 cannot load {folder.path}: {first_line(unusable)}") from unusable
        bands = read_json(folder.path / "preprocessor_config.json").get("feature_size", self._model.n_mels)
        if bands != self._model.n_mels:
            raise NotReadyError(
                f"{folder.path} is of two models: {bands} mel bands, and weights for {self._model.n_mels}"
            )
        # The model's own list, and whatever says nothing to a reader.
        special = range(vocabulary.first_special, vocabulary.tokenizer.get_vocab_size())
        self._suppressed = [-1, *(token for token in special if token != vocabulary.end)]
        self.max_batch = _CUDA_BATCH if device == "cuda" else _CPU_BATCH
        self.description = f"CTranslate2 {ctranslate2.__version__}, {self._model.device}, {self._model.compute_type}"

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> _Encoded:
        """As `Runtime.encode`."""
        columns = np.stack([log_mel(sound, self._model.n_mels) for sound in sounds])
        states = self._run(self._model.encode, ctranslate2.StorageView.from_array(columns), to_cpu=True)
        return _Encoded(np.array(states))

    def language_probabilities(self, encoded: _Encoded) -> list[dict[int, float]]:
        """As `Runtime.language_probabilities`."""
        found = self._run(self._model.detect_language, encoded.of(list(range(len(encoded.states)))))
        by_name = {f"<|{language}|>": token for language, token in self._vocabulary.languages.items()}
        return [{by_name[name]: float(share) for name, share in shares if name in by_name} for shares in found]

    def decode(
        self, encoded: _Encoded, prompts: Sequence[Prompt], windows: Sequence[int] | None = None
    ) -> list[Decoded]:
        """As `Runtime.decode`."""
        # The library takes prompts of one length and one temperature at a time.
        alike: dict[tuple[int, int, float], dict[int, Prompt]] = defaultdict(dict)
        places = range(len(prompts)) if windows is None else windows
        for place, prompt in zip(places, prompts, strict=True):
            alike[len(prompt.start) + len(prompt.text), prompt.transcript_at, prompt.temperature][place] = prompt
        decoded: dict[int, Decoded] = {}
        for asked in alike.values():
            found = self._decode_alike(encoded, list(asked), list(asked.values()))
            decoded.update(zip(asked, found, strict=True))
        return [decoded[place] for place in places]

    def _decode_alike(self, encoded: _Encoded, items: list[int], prompts: list[Prompt]) -> list[Decoded]:
        most = max(prompt.max_new for prompt in prompts)
        length = len(prompts[0].start) + len(prompts[0].text)
        results = self._run(
            self._model.generate,
            encoded.of(items),
            [[*prompt.start, *prompt.text] for prompt in prompts],
            beam_size=1,
            # The library counts the end, too.
            max_length=length + most + 1,
            return_scores=True,
            return_no_speech_prob=True,
            sampling_topk=0 if prompts[0].temperature else 1,
            sampling_temperature=prompts[0].temperature,
            suppress_tokens=self._suppressed,
        )
        decoded = []
        for item, prompt, result in zip(items, prompts, results, strict=True):
            # The settled text comes back with what followed.
            new = result.sequences_ids[0][len(prompt.text) :]
            is_complete = len(new) < most and len(new) <= prompt.max_new
            tokens = (*prompt.text, *new[: prompt.max_new])
            shares, starts = self._aligned(encoded.of([item]), prompt, tokens)
            # The library divides the sum of what it chose, the end included, by what comes back without it.
            average = float(result.scores[0])
            if new:
                average *= len(result.sequences_ids[0]) / (len(new) + is_complete)
            decoded.append(
                Decoded(tokens, shares[len(prompt.text) :], starts, average, float(result.no_speech_prob), is_complete)
            )
        return decoded

    def _aligned(
        self, states: ctranslate2.StorageView, prompt: Prompt, tokens: tuple[int, ...]
    ) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """The probability of each token and where it begins, and the last ends."""
        if not tokens:
            return (), (0,)
        # The library adds "no timestamps" itself; its frames are columns of the spectrogram, two for each state.
        start = list(prompt.start[prompt.transcript_at : -1])
        (found,) = self._run(self._model.align, states, start, [list(tokens)], [2 * prompt.states])
        first: dict[int, int] = {}
        for token, state in found.alignments:
            first.setdefault(token, state)
        starts = [first.get(token, prompt.states - 1) for token in range(len(tokens) + 1)]
        return tuple(map(float, found.text_token_probs)), tuple(np.maximum.accumulate(starts).tolist())

    def _run(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except (RuntimeError, ValueError) as failed:
            raise EngineError(f"CTranslate2 failed: {first_line(failed)}") from failed

    def close(self) -> None:
        """As `Runtime.close`."""
        self._model.unload_model()
