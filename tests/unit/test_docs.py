"""What is written for people is what the code has: every setting, metric, condition, reason, route and step, and nothing else."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.unit.reasons_in_code import reasons

from lab.cli import app as labctl
from vmscaler.adapters.metrics import Metrics
from vmscaler.api import conditions, reference
from vmscaler.decide.claim import CHAIN
from vmscaler.entry.cli import app as command_line
from vmscaler.entry.gateway import make_gateway
from vmscaler.entry.health import Progress, make_health
from vmscaler.flows.steps import STEPS
from vmscaler.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LONGEST = 300
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for folder in ("docs", "hack", "deploy", "jenkins", "tests") for page in (ROOT / folder).rglob("*.md"))]
)


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """The lines below a heading, up to the next one of its level or above."""
    level = heading.split(" ")[0]
    _, found, rest = page.partition(f"\n{heading}\n")
    assert found, f"there is no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in page.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def first_column(page: str) -> set[str]:
    """Words that are code in the first column of a page's tables."""
    return {word for cells in rows(page) for word in re.findall(r"`([^`]+)`", cells[0])}


@pytest.fixture(scope="module")
def step_client() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("vmscaler_step", str(ROOT / "jenkins" / "vmscaler-step"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_settings() -> None:
    assert first_column(text("settings.md")) == {PREFIX + name.upper() for name in Settings.model_fields}


def test_settings_defaults() -> None:
    shown = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(text("settings.md"))}
    for name, field in Settings.model_fields.items():
        said, default = shown[PREFIX + name.upper()], field.default
        if field.is_required():
            assert said == "required", name
        elif default is not None:
            assert said == (f"{default:g}" if isinstance(default, float) else str(default)), name


def test_metrics() -> None:
    found: dict[str, tuple[str, set[str]]] = {}
    metrics = Metrics()
    for collector in vars(metrics).values():
        if isinstance(collector, CollectorRegistry):
            continue
        family = collector.describe()[0]
        found[family.name + ("_total" if family.type == "counter" else "")] = (family.type, set(collector._labelnames))
    page = text("metrics.md").partition("What to alert on")[0]
    shown = {
        cells[0].strip("`"): (cells[1], set(re.findall(r"`([^`]+)`", cells[2]))) for cells in rows(page) if cells[0].startswith("`vmscaler")
    }
    assert shown == found
    for name in re.findall(r"vmscaler_[a-z_]+", text("metrics.md")):
        assert name in found


def test_condition_types() -> None:
    types = {value for name, value in vars(conditions).items() if name.isupper() and isinstance(value, str)}
    assert first_column(section(text("conditions.md"), "## Condition types")) == types


def test_reasons() -> None:
    documented = first_column(section(text("conditions.md"), "## Reasons"))
    found = reasons()
    assert {word: sorted(found[word]) for word in found.keys() - documented} == {}, "give them a row in docs/conditions.md"
    assert documented - found.keys() == set(), "no code gives these any more"


def test_the_reader_of_reasons_reads_each_form() -> None:
    # One of each way in which a reason is written down; if one is lost, test_reasons would be blind to it.
    forms = {"Unreachable", "PoolNotGranted", "AtMaximum", "Loaded", "JobNotReady", "AllReady", "CloneTimeout", "ScaledOut", "BuildAborted"}
    assert forms | {"InUse", "BigIpRefused", "PortGroupAmbiguous", "SiteNotFound", "Superseded", "UnknownToken"} <= reasons().keys()


def test_the_claim_s_checks() -> None:
    numbered = [cells[0] for cells in rows(section(text("architecture.md"), "### The claim")) if cells[0].isdigit()]
    assert numbered == [str(number) for number in range(1, len(CHAIN) + 1)]


def test_gateway_routes_and_steps(step_client: ModuleType) -> None:
    nothing: Any = None
    page = text("gateway.md")
    routes = {
        (route.method, route.resource.canonical) for route in make_gateway(nothing, nothing, lambda: 0.0).router.routes() if route.resource
    }
    assert {tuple(found) for found in re.findall(r"^## (GET|POST) (\S+)$", page, re.MULTILINE)} == routes
    said = page.partition("Steps: ")[2].partition("\n")[0]
    assert tuple(re.findall(r"`([a-z]+)`", said)) == STEPS == step_client.STEPS


def test_step_client_s_environment_and_exit_codes(step_client: ModuleType) -> None:
    page = section(text("gateway.md"), "## The step client")
    source = (ROOT / "jenkins" / "vmscaler-step").read_text()
    assert first_column(page) == set(re.findall(r'"(VMSCALER_[A-Z_]+|JOB_NAME|BUILD_NUMBER|BUILD_URL)"', source)) | {"am_*"}
    codes = {step_client.DONE, step_client.FAILED, step_client.NOT_SERVED, step_client.REFUSED, step_client.USAGE, step_client.FAULT}
    assert {int(cells[0]) for cells in rows(page) if cells[0].isdigit()} == codes


def test_health_routes() -> None:
    nothing: Any = None
    app: web.Application = make_health(Progress(nothing), CollectorRegistry(), nothing, nothing)
    for resource in app.router.resources():
        assert f"`{resource.canonical}`" in text("settings.md"), resource.canonical


def test_api_reference_is_fresh() -> None:
    assert text("api.md") == reference.render(), "run `make generate` and commit"


def _commands(text_: str) -> set[str]:
    """Code: inline and in blocks."""
    return {*re.findall(r"`([^`\n]+)`", text_), *"\n".join(re.findall(r"^```\w*\n(.*?)^```", text_, re.DOTALL | re.MULTILINE)).splitlines()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {
        "make": targets,
        "hack/labctl": {command.name or command.callback.__name__ for command in labctl.registered_commands if command.callback},
        "vmscaler": {command.name or command.callback.__name__ for command in command_line.registered_commands if command.callback},
    }
    for said in _commands(page.read_text(encoding="utf-8")):
        if match := re.match(r"(?:\$ )?(make|hack/labctl|vmscaler) ([a-z][a-z0-9-]*)", said):
            assert match[2] in known[match[1]], said


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in _anchors(target), link


def test_every_page_can_be_found() -> None:
    linked = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for page in DOCS.glob("*.md"):
        assert f"{page.name})" in linked or f"{page.name}#" in linked, f"no page links to docs/{page.name}"


def test_no_package_shadows_another() -> None:
    # operator: the standard library's; jenkins: python-jenkins; hack: must stay a folder, `lab` is imported from it.
    for folder in ("operator", "jenkins", "hack"):
        assert not (ROOT / folder / "__init__.py").exists()


def test_long_files_have_a_reason() -> None:
    excused = {cells[0].strip("`"): cells[1] for cells in rows(text("long-files.md")) if cells[0] != "file"}
    long = {
        path.relative_to(ROOT).as_posix()
        for folder in ("operator", "hack", "tests")
        for ending in ("*.py", "*.go")
        for path in (ROOT / folder).rglob(ending)
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST
    }
    assert long == excused.keys(), "split them, or say why in docs/long-files.md; take out rows that are not needed any more"
    assert all(excused.values())
