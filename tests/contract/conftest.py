"""Fixtures of the contract suites: parts of the lab that several of them use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from lab.pki import Authority
from lab.process import Json
from lab.vcenter import inventory, vcenter


@dataclass(frozen=True)
class VCenter:
    """A running lab vCenter: its ready record and the CA that signed its certificate."""

    record: Json
    authority: Authority


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab_vcenter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VCenter]:
    """One for the whole run, with guests that it plays itself (up after 0.1 s): clean up what you clone, heal what you break."""
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    folder = tmp_path_factory.mktemp("vcenter")
    config = {
        "username": "svc-vmscaler@vsphere.local",
        "password": "sample-password",
        "certificate": issued.certificate,
        "privateKey": issued.key,
        "tempFolder": str(folder / "datastores"),
        "guests": {"bootSeconds": 0.1},
        **inventory([("web-1", "127.0.0.20"), ("web-2", "127.0.0.21")]),
    }
    async with await vcenter(config, folder=folder) as part:
        yield VCenter(part.record, authority)
