"""What is recorded says what plain calls say: by CUDA graphs, or on a CPU by a stand-in that refuses as they do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from services.tts.engines.xtts.decoding import Decoding, Newcomer
from services.tts.engines.xtts.gpt import Gpt
from services.tts.engines.xtts.graphs import Recorder
from services.tts.engines.xtts.sampling import Sampling
from services.tts.engines.xtts.sizes import XttsSizes
from services.tts.engines.xtts.vocoder import Vocoder, Waveforms, Window, usual_windows
from tests.fakes.cuda_graph import RecordedGraph

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
SIZES = XttsSizes(
    layers=2, width=64, heads=4, text_tokens=50, max_text=40, max_audio=300, start_text=3, vocoder_channels=32
)
GREEDY = Sampling(temperature=0)


class StandIn(Recorder):
    """Records without a GPU."""

    def __init__(self) -> None:
        self.count = 0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        self.count += 1
        return RecordedGraph(work).replay


def recorder() -> Recorder:
    return Recorder() if HAS_GPU else StandIn()


def gpt() -> Gpt:
    torch.manual_seed(3)
    made = Gpt(SIZES)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.normal_(1 if "norm" in name or ".ln_" in name else 0, 0.2)
        made.mel_head.bias[SIZES.stop_audio] = -1e4
    return made.to(DEVICE).requires_grad_(requires_grad=False)


def newcomer(row: int) -> Newcomer:
    random = torch.Generator().manual_seed(row)
    return Newcomer(
        row, torch.randn(1, 32, SIZES.width, generator=random).to(DEVICE), torch.arange(4 + row % 5) + 1 + row % 7
    )


def said(decoding: Decoding, rows: int) -> list[list[int]]:
    """The tokens of rows that begin at different times, one of which has to wait for a while."""
    heard: list[list[int]] = [[] for _ in range(rows)]
    for step in range(24):
        if step == 0:
            decoding.join([newcomer(row) for row in range(0, rows, 2)])
        if step == 5 and rows > 1:
            decoding.join([newcomer(row) for row in range(1, rows, 2)])
        decoding.hold({0} if 8 <= step < 12 else ())
        decoding.advance(1)
        for row, tokens in enumerate(heard):
            tokens.append(int(decoding._tokens[row]))
    return heard


@pytest.mark.parametrize("rows", [1, 2, 5, 17])
def test_rows_say_by_graphs_what_they_say_without(rows: int) -> None:
    model = gpt()
    plain, recorded = Decoding(model, rows, GREEDY), Decoding(model, rows, GREEDY)
    recorded.warm_up(recorder())
    recorded.rehearse()
    assert recorded._graphs
    wanted = said(plain, rows)
    assert said(recorded, rows) == wanted
    assert len({tuple(tokens) for tokens in wanted}) == rows
    assert torch.allclose(recorded.latents(0, 10), plain.latents(0, 10), atol=1e-3 if HAS_GPU else 1e-5)


def test_chance_goes_on_from_one_replay_to_the_next() -> None:
    model = gpt()
    decoding = Decoding(model, 1, Sampling(temperature=1.4, top_p=1.0))
    decoding.warm_up(recorder())
    first, second = said(decoding, 1), said(decoding, 1)
    assert first != second


def vocoder() -> Vocoder:
    torch.manual_seed(5)
    made = Vocoder(SIZES).to(DEVICE)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.1)
    return made.requires_grad_(requires_grad=False)


def windows(lengths: list[int], seed: int) -> list[Window]:
    random = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(DEVICE)

    return [Window(noise(SIZES.width, length), noise(1, SIZES.speaker_width, 1), 2, length - 1) for length in lengths]


def test_pieces_sound_by_graphs_as_without() -> None:
    network = vocoder()
    plain, recorded = Waveforms(network), Waveforms(network)
    recorded.warm_up(recorder())
    recorded.rehearse()
    # What one replay has left must not be heard in the next.
    for number, lengths in enumerate(([76] * 8, [76], [50] * 3, [26, 76, 26], [26] * 9, [31, 76])):
        asked = windows(lengths, number)
        for ours, wanted in zip(recorded.of(asked), plain.of(asked), strict=True):
            assert ours.shape == wanted.shape
            assert abs(ours - wanted).max() < (1e-2 if HAS_GPU else 1e-5) * abs(wanted).max()
    assert usual_windows() == {26, 50, 76}


@pytest.mark.skipif(HAS_GPU, reason="a GPU refuses by itself")
def test_the_stand_in_refuses_what_no_graph_holds() -> None:
    numbers, chosen = torch.ones(3), torch.tensor([True, False, True])

    def waits() -> None:
        numbers.sum().item()

    def counts() -> None:
        numbers[chosen] = 2

    for work in (waits, counts):
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            StandIn().record(work)
