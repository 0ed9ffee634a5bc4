"""No secret is anywhere but where it belongs: the Secrets of the operator's namespace, Jenkins' credentials store, the token file.

A scale-out of its own makes every place that might hold one; what earlier tests left in the run's folder is searched too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.e2e.bench import Bench

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

POLICY = "s-one"
# What the run's folder holds for the lab itself (its parts' configs and keys), and the one place of the product's on a host.
ALLOWED = re.compile(
    r"[a-z]+-\w{8}\.json|operator\.kubeconfig|pki/[a-z]+\.key|monitoring/var/ssh/login_key|monitoring/etc/alertmanager/.+/vmscaler-[\w.-]+\.token"
)


class Needles:
    """The secrets of the run, in the forms in which they could show up."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}

    def add(self, name: str, *values: str) -> None:
        """Each value as it is and in base64 (at any alignment but for its ends), as a Secret or a login header has it."""
        for value in values:
            assert len(value) >= 16, f"{name} is too short to be looked for"
            raw = value.encode()
            self._forms[raw] = name
            for shift in range(3):
                coded = base64.b64encode(b"\0" * shift + raw)
                self._forms[coded[4 if shift else 0 : -4]] = f"{name} in base64"

    def found(self, text: str | bytes) -> list[str]:
        """The names of the secrets in it."""
        content = text.encode() if isinstance(text, str) else text
        return sorted({name for form, name in self._forms.items() if form in content})


async def _needles(bench: Bench) -> Needles:
    needles, run = Needles(), bench.dc.run
    assert run is not None
    policy = await bench.get("asp", POLICY)
    assert policy is not None
    secret = await bench.get("secret", f"vmscaler-tokens-{policy['metadata']['uid']}", "vmscaler-system")
    assert secret is not None
    tokens = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    needles.add("hook token", tokens["hookToken"])
    needles.add("step token", tokens["stepToken"])
    for name, user in run.users.items():
        for key in ("password", "token"):
            if key in user:
                needles.add(f"{key} of {name}", user[key])
        if "privateKey" in user:
            needles.add(f"key of {name}", *_inner(user["privateKey"]))
    gateway = await bench.get("secret", "vmscaler-gateway-tls", "vmscaler-system")
    assert gateway is not None
    needles.add("the gateway's key", *_inner(base64.b64decode(gateway["data"]["tls.key"]).decode()))
    kubeconfig = json.loads(await asyncio.to_thread((bench.dc.folder / "operator.kubeconfig").read_text))
    needles.add("the operator's token", kubeconfig["users"][0]["user"]["token"].rpartition(".")[2])
    return needles


def _inner(pem: str) -> list[str]:
    """A line from inside of the key: the first are the same in every key of a kind."""
    return [line for line in pem.splitlines() if not line.startswith("-")][1:2]


class ProcessList:
    """What `ps` would have shown while it was watched."""

    def __init__(self) -> None:
        self.lines: set[bytes] = set()
        self._over = threading.Event()

    def watch(self) -> None:
        """Blocks until `stop`."""
        while not self._over.wait(0.03):
            for process in Path("/proc").iterdir():
                with contextlib.suppress(OSError):  # it may end at any moment
                    self.lines.add((process / "cmdline").read_bytes())

    def stop(self) -> None:
        """End `watch`."""
        self._over.set()


async def test_secrets_are_where_they_belong_only(bench: Bench) -> None:
    await bench.policy(POLICY, 119, 119)
    await bench.ready(POLICY)
    needles, processes = await _needles(bench), ProcessList()
    watching = asyncio.create_task(asyncio.to_thread(processes.watch))
    try:
        await bench.alert(POLICY)
        event = await bench.event_over(POLICY)
    finally:
        processes.stop()
        await watching
    assert event["status"]["phase"] == "Succeeded", event["status"]
    assert any(b"vmscaler-step" in line for line in processes.lines), "the sampling saw no step of the build"
    assert not [(line, found) for line in processes.lines if (found := needles.found(line))]

    objects, jenkins, pages = await asyncio.gather(_objects(bench), _jenkins(bench), _pages(bench))
    for what, text in {**objects, **jenkins, **pages}.items():
        assert text, f"{what} is empty"
        assert not needles.found(text), f"{what} holds {needles.found(text)}"
    held = {what: found for what, text in (await _secrets(bench)).items() if (found := needles.found(text))}
    assert held.keys() == {
        *("vmscaler-system/" + name for name in (bench.dc.run.users if bench.dc.run else {})),
        f"vmscaler-system/vmscaler-tokens-{event['spec']['policyRef']['uid']}",
        "vmscaler-system/vmscaler-gateway-tls",
    }
    found_in = await asyncio.to_thread(lambda: {str(path): found for path, found in _files(bench.dc.folder, needles)})
    assert not {path: found for path, found in found_in.items() if not ALLOWED.fullmatch(path)}
    token_file = next(path for path in found_in if path.endswith(f"vmscaler-acme.{POLICY}.token"))
    assert found_in[token_file] == ["hook token"]
    await asyncio.to_thread(_private, bench.dc.folder / token_file)

    await bench.alert(POLICY, firing=False)
    await bench.dc.cluster.kubectl("delete", "asp", POLICY, "-n", "acme", "--timeout=180s")
    await bench.dc.cluster.kubectl("delete", "vmi", event["spec"]["instances"][0], "-n", "acme", "--timeout=180s")


def _private(path: Path) -> None:
    """The token file is its owner's alone, and the owner is the folder's: the one as whom Alertmanager runs."""
    own, folder = path.stat(), path.parent.stat()
    assert stat.S_IMODE(own.st_mode) == 0o600
    assert (own.st_uid, own.st_gid) == (folder.st_uid, folder.st_gid)


def _files(folder: Path, needles: Needles) -> Iterator[tuple[Path, list[str]]]:
    """Every file of the run that holds a secret: logs, builds, workspaces, configurations, databases."""
    searched = 0
    for path in _regular(folder):
        try:
            found = needles.found(path.read_bytes())
        except FileNotFoundError:  # a build's, or Prometheus' own
            continue
        searched += path.suffix == ".log"
        if found:
            yield path.relative_to(folder), found
    assert searched >= 10, "the logs were not found"


def _regular(folder: Path) -> Iterable[Path]:
    # Folders go while we look (a build's, blocks of Prometheus): rglob raises there, walk goes on.
    paths = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return (path for path in paths if path.is_file() and not path.is_symlink())


async def _objects(bench: Bench) -> dict[str, str]:
    """Every object of every kind that can be listed but Secrets, with its managed fields."""
    kinds = (await bench.dc.cluster.kubectl("api-resources", "--verbs=list", "-o", "name")).split()
    wanted = [kind for kind in kinds if kind != "secrets"]
    assert {"scaleoutevents.vmscaler.io", "events", "configmaps"} <= set(wanted)
    text = await bench.dc.cluster.kubectl("get", ",".join(wanted), "-A", "-o", "json", "--show-managed-fields=true")
    assert POLICY in text
    return {"an object": text}


async def _secrets(bench: Bench) -> dict[str, str]:
    """Every Secret, by namespace/name."""
    items = (await bench.dc.cluster.get("secrets", "-A"))["items"]
    return {f"{item['metadata']['namespace']}/{item['metadata']['name']}": json.dumps(item) for item in items}


async def _jenkins(bench: Bench) -> dict[str, str]:
    """What Jenkins shows to one who may see everything: job, configuration, build, console, credentials."""
    job = f"job/autoscale-acme-{POLICY}"
    uid = (await bench.get("asp", POLICY) or {})["metadata"]["uid"]
    store = "credentials/store/system/domain/_/credential"
    paths = [f"{job}/config.xml", f"{job}/api/json?depth=2", f"{job}/1/consoleText", f"{job}/1/api/json?depth=2"]
    paths += [f"{store}/vmscaler-{kind}-{uid}/config.xml" for kind in ("hook", "step")]
    url, shown = bench.dc.parts["jenkins"].record["url"].rstrip("/"), {}
    for path in paths:
        async with bench.http.get(f"{url}/{path}", headers=bench.dc.jenkins_login(), ssl=bench.dc.client_context()) as answer:
            assert answer.status == 200, path
            shown[path] = await answer.text()
    return shown


async def _pages(bench: Bench) -> dict[str, str]:
    """What the monitoring, the operator and the lab's own status pages show: configurations, URLs of requests, marks of VMs."""
    dc, monitoring = bench.dc, bench.dc.parts["monitoring"].record
    assert dc.operator is not None
    urls = [f"{monitoring['prometheus']['url']}/api/v1/{page}" for page in ("status/config", "targets", "rules", "alerts")]
    urls += [f"{monitoring['alertmanager']['url']}/api/v2/{page}" for page in ("status", "alerts", "receivers")]
    urls += [f"{dc.operator.health}/metrics"]
    shown = {}
    for url in urls:
        async with bench.http.get(url) as answer:
            assert answer.status == 200, url
            shown[url] = await answer.text()
    for part in ("vcenter", "bigip", "jenkins", "guests"):
        shown[part] = json.dumps(await dc.control(part, "GET", "/status"))
    shown["the VMs"] = json.dumps(await bench.vms())
    return shown
