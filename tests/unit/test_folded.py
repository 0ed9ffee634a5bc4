"""Folded reads: as fresh as a read of one's own, and few."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from vmscaler.adapters.folded import Folded


class Source:
    """Each look takes until `let_go` is set and gives the number of the look."""

    def __init__(self) -> None:
        self.looks = count(1)
        self.began: list[int] = []
        self.let_go = asyncio.Event()
        self.error: Exception | None = None

    async def look(self) -> int:
        number = next(self.looks)
        self.began.append(number)
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return number


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_during_a_look_shares_the_next_one() -> None:
    source, folded = Source(), Folded[str, int]()
    first = asyncio.create_task(folded.read("k", source.look))
    await settle()
    late = [asyncio.create_task(folded.read("k", source.look)) for _ in range(5)]
    await settle()
    assert source.began == [1]
    source.let_go.set()
    assert await first == 1
    assert await asyncio.gather(*late) == [2] * 5
    assert source.began == [1, 2]
    assert await folded.read("k", source.look) == 3


async def test_keys_do_not_wait_for_each_other() -> None:
    source, folded = Source(), Folded[str, int]()
    tasks = [asyncio.create_task(folded.read(key, source.look)) for key in ("a", "b")]
    await settle()
    assert source.began == [1, 2]
    source.let_go.set()
    assert sorted(await asyncio.gather(*tasks)) == [1, 2]


async def test_an_error_goes_to_all_who_share_it_and_the_next_look_begins_anew() -> None:
    source, folded = Source(), Folded[str, int]()
    source.error = ValueError("no answer")
    asking = [asyncio.create_task(folded.read("k", source.look)) for _ in range(3)]
    await settle()
    source.let_go.set()
    for task in asking:
        with pytest.raises(ValueError, match="no answer"):
            await task
    source.error = None
    assert await folded.read("k", source.look) == 2


async def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    source, folded = Source(), Folded[str, int]()
    impatient = asyncio.create_task(folded.read("k", source.look))
    patient = asyncio.create_task(folded.read("k", source.look))
    await settle()
    impatient.cancel()
    await settle()
    assert impatient.cancelled()
    source.let_go.set()
    assert await patient == 1
