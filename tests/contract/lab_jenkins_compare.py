"""Where an answer of the lab's Jenkins differs from the recorded one. Used by test_lab_jenkins_*.py."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

import requests
from tests.contract.lab_jenkins_replay import Lab

HEADERS = [
    *("X-Content-Type-Options", "X-Jenkins", "X-Jenkins-Session", "X-Hudson", "Content-Type", "Set-Cookie", "Location"),
    *("X-Error", "X-More-Data", "X-Text-Size", "WWW-Authenticate", "Cache-Control"),
]
# Compared by type only: times, ids of the run, random values, figures of the machine.
VOLATILE = {
    *("timestamp", "duration", "estimatedDuration", "inQueueSince", "buildableStartMilliseconds", "queueId", "tokenValue"),
    *("tokenUuid", "crumb", "average", "availablePhysicalMemory", "availableSwapSpace", "totalPhysicalMemory"),
    *("totalSwapSpace", "size", "threshold", "totalSize", "warningThreshold"),
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Which of the free executors is taken is chance in a real Jenkins.
_CHANCE = re.compile(r"^(EXECUTOR_NUMBER=)\d+$", re.MULTILINE)


def differences(recorded: dict[str, Any], ours: requests.Response, lab: Lab) -> list[str]:
    """What is not as recorded: status, headers that matter, body."""
    found = []
    if ours.status_code != recorded["status"]:
        found.append(f"status: {recorded['status']} -> {ours.status_code}")
    for name in HEADERS:
        want, have = (_header(name, source.get(name), lab) for source in (recorded["headers"], ours.headers))
        if want != have:
            found.append(f"header {name}: {want!r} -> {have!r}")
    body, text = recorded["body"], lab.normal(ours.content.decode())
    if isinstance(body, dict) and body.get("html_page"):
        title = re.search(r"<title>(.*?)</title>", text)
        if (title[1] if title else None) != body["title"]:
            found.append(f"title: {body['title']!r} -> {title and title[1]!r}")
        return found
    if "json" in str(recorded["headers"].get("Content-Type")) and isinstance(body, str):
        if not text.startswith(("{", "[")):
            return [*found, f"body: JSON -> {text[:200]!r}"]
        return found + compare(json.loads(body), json.loads(text), lab)
    if "consoleText" in ours.url or "progressiveText" in ours.url:
        return found + console_differences(body or "", text)
    return found + _changed(str(body or "").split("\n"), text.split("\n"), "body")


def _changed(want: list[str], have: list[str], what: str) -> list[str]:
    return [f"{what}: {line}" for line in difflib.ndiff(want, have) if line[:1] in "+-"]


def shape(want: Any, have: Any, at: str = "") -> list[str]:
    """Keys and types alone; of a list of another length every element against the first recorded one."""
    if type(want) is not type(have) and None not in (want, have):
        return [f"{at}: {type(want).__name__} -> {type(have).__name__}"]
    if isinstance(want, dict) and have is not None:
        found = [f"{at}: lacks {name}" for name in want if name not in have] + [f"{at}: has {name}" for name in have if name not in want]
        return found + [d for name in want if name in have for d in shape(want[name], have[name], f"{at}.{name}")]
    if isinstance(want, list) and want:
        sample = want if len(want) == len(have) else [want[0]] * len(have)
        return [d for a, b in zip(sample, have, strict=True) for d in shape(a, b, f"{at}[]")]
    return []


def _header(name: str, value: str | None, lab: Lab) -> str | None:
    if value is None or name == "X-Text-Size":
        return None if value is None else "a number"
    if name == "Set-Cookie":
        return value.partition("=")[0]
    if name == "Location":
        back = {mine: theirs for theirs, mine in lab.ids.items()}
        return re.sub(r"queue/item/(\d+)", lambda m: f"queue/item/{back.get(m[1], m[1])}", lab.normal(value))
    return value


def compare(want: Any, have: Any, lab: Lab, at: str = "") -> list[str]:
    """Keys, types and values of two JSON bodies; volatile ones by type."""
    key = at.rpartition(".")[2]
    if type(want) is not type(have):
        return [f"{at}: {want!r} -> {have!r}"]
    if isinstance(want, dict):
        found = [f"{at}: lacks {name}" for name in want if name not in have]
        found += [f"{at}: has {name}" for name in have if name not in want]
        return found + [d for name in want if name in have for d in compare(want[name], have[name], lab, f"{at}.{name}")]
    if isinstance(want, list):
        if len(want) != len(have):
            return [f"{at}: {len(want)} elements -> {len(have)}"]
        pairs = enumerate(zip(want, have, strict=True))
        return [d for number, (a, b) in pairs for d in compare(a, b, lab, f"{at}[{number}]")]
    if key in VOLATILE:
        return []
    if key == "id" and isinstance(want, int) and want:
        want, have = lab.ids.get(str(want), str(want)), str(have)
    if isinstance(want, str) and isinstance(have, str):
        want, have = _value(key, want), _value(key, have)
        want = re.sub(r"queue/item/(\d+)/", lambda m: f"queue/item/{lab.ids.get(m[1], m[1])}/", want)
    return [] if want == have else [f"{at}: {want!r} -> {have!r}"]


def _value(key: str, text: str) -> str:
    text = _UUID.sub("UUID", text)
    if key == "why":
        text = re.sub(r"Expires in [\d.]+ (sec|ms)", "Expires in N sec", text)
        text = re.sub(r"ETA: ([\d.]+ sec|N/A)", "ETA: N", text)
    return text


def console_differences(want: str, have: str) -> list[str]:
    """The order of lines between two `[Pipeline]` lines is not compared: a shell's pipe writes its trace in any order.

    What is known to differ must be taken out of both before: beside a difference that is left, mixed traces are told as different too.
    """
    a, b = (_blocks(_CHANCE.sub(r"\1N", _UUID.sub("UUID", text))) for text in (want, have))
    found = [line for x, y in zip(a, b, strict=False) if not _say_the_same(x, y) for line in _changed(x, y, "console")]
    return [*found, f"console: {len(a)} blocks -> {len(b)}"] if len(a) != len(b) else found


def _say_the_same(want: list[str], have: list[str]) -> bool:
    """Whether two blocks say the same; how many shells say "Terminated" is chance.

    A shell writes its trace word by word, so those of a pipe's shells mix within a line and even a word: recorded as
    "+ + env+ <newline>sort", seen here as "+ + printf %str **** a-z". Of a block with two traces only the letters are compared.
    """
    texts = [" ".join(dict.fromkeys(block) if "Terminated" in block else block) for block in (want, have)]
    if any(len(re.findall(r"\+(?=\s)", text)) > 1 for text in texts):
        texts = [" ".join(re.sub(r"[\s+]", "", text)) for text in texts]
    a, b = (sorted(text.split()) for text in texts)
    return a == b


def _blocks(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in text.strip("\n").split("\n"):
        if line.startswith("[Pipeline]"):
            blocks += [[line], []]
        else:
            blocks[-1].append(line)
    return [sorted(block) for block in blocks if block]
