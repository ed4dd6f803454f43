"""What we rely on inside aiortc is there, and the microphone's path loses no time."""

from __future__ import annotations

import pytest

from orchestrator import aiortc_adapter
from orchestrator.aiortc_adapter import PacketOrder


def test_the_installed_aiortc_is_the_one_whose_insides_are_known() -> None:
    aiortc_adapter.check_version()


@pytest.mark.parametrize("part", aiortc_adapter.private_parts())
def test_private_part_is_there(part: str) -> None:
    assert aiortc_adapter.private_parts()[part]()


@pytest.mark.parametrize(
    ("arrivals", "ready"),
    [
        pytest.param([1, 2, 3], [[1], [2], [3]], id="in order: at once"),
        pytest.param([1, 3, 2, 4], [[1], [], [2, 3], [4]], id="swapped: waits for the missing one"),
        pytest.param([1, 3, 4, 5, 6, 7], [[1], [], [], [], [3, 4, 5, 6], [7]], id="lost: no lasting delay"),
        pytest.param([65534, 65535, 0, 1], [[65534], [65535], [0], [1]], id="numbers wrap"),
        pytest.param([5, 6, 6, 5, 7], [[5], [6], [], [], [7]], id="doubles are dropped"),
        pytest.param([5, 900, 901], [[5], [900], [901]], id="a sender that starts over"),
        pytest.param([5, 7, 8, 9, 10, 6, 11], [[5], [], [], [], [7, 8, 9, 10], [], [11]], id="too late"),
    ],
)
def test_packets_pass_in_order_with_the_least_delay(arrivals: list[int], ready: list[list[int]]) -> None:
    order = PacketOrder()
    assert [order.add(number, number) for number in arrivals] == ready
