"""Fault switches as words on a command line: NAME=VALUE into what a part's control port takes. Called by `python -m lab fault`.

Values are JSON (true, 2, {"value": ...}) or plain words. Where a part takes globs of VM names, words with commas between
them are a list: die=web-1,web-2; where it takes seconds for each glob: slow=web-1:0.5,web-2:1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from lab.bigip.faults import KNOWN as BIGIP
from lab.guests.faults import KNOWN as GUESTS
from lab.jenkins import faults as jenkins
from lab.monitoring.host import FAULTS as MONITORING
from lab.process import Json

VCENTER = {
    "down": "true: connections are refused, open ones closed",
    "latency": "seconds before each call",
    "calls": "rules for calls, as JSON: see hack/lab/vcenter.py",
    "tasks": 'rules for tasks, as [{"method": "CloneVM_Task", "effect": "fault", "fault": "InsufficientResourcesFault"}]',
    "taskSeconds": 'how long tasks take, as {"CloneVM_Task": 20}',
}
_JENKINS = dict(re.findall(r"^(\w+) {2,}(.+)$", jenkins.__doc__ or "", re.MULTILINE))
KNOWN: dict[str, dict[str, str]] = {
    "vcenter": VCENTER,
    "guests": GUESTS,
    "bigip": BIGIP,
    "jenkins": {name: _JENKINS[name] for name in jenkins.KNOWN},
    "monitoring": {name: "one of: " + ", ".join(values) for name, values in MONITORING.items()},
}
_SWITCHES = (
    {("vcenter", "down")}
    | {("bigip", name) for name in BIGIP if name not in ("latency_s", "member_stuck", "certificate", "restart")}
    | {("jenkins", name) for name in jenkins.KNOWN if name != "latency_s"}
)
_NUMBERS = {("vcenter", "latency"), ("jenkins", "latency_s")}
_JSON = {("vcenter", "calls"): list, ("vcenter", "tasks"): list, ("vcenter", "taskSeconds"): dict}
_GLOBS = {("guests", name) for name in ("neverBoot", "healthFails", "hang", "die")}
_SECONDS = {("guests", "slow")}


class BadSwitch(ValueError):
    """What was typed is no fault of the part."""


def parse(part: str, words: Iterable[str]) -> Json:
    """The whole set for the part's PUT /faults. Raises BadSwitch, which says what there is."""
    if part not in KNOWN:
        raise BadSwitch(f"no part {part!r} with faults; there is {', '.join(KNOWN)}")
    faults: Json = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            known = f": {KNOWN[part][name]}" if name in KNOWN[part] else f"; {part} has {', '.join(KNOWN[part])}"
            raise BadSwitch(f"{word!r} is not NAME=VALUE{known}")
        if name not in KNOWN[part]:
            raise BadSwitch(f"{part} has no fault {name!r}; it has {', '.join(KNOWN[part])}")
        faults[name] = _value(part, name, value)
    return faults


def on(part: str, faults: Json) -> Json:
    """Of what a part's GET /faults answers, what is on. The BIG-IP tells only of those, as {} where one has no value."""
    return {name: value or True for name, value in faults.items() if value or part == "bigip"}


def _value(part: str, name: str, text: str) -> Any:
    if (part, name) in _GLOBS and not text.startswith("["):
        if not text:
            raise BadSwitch(f"{name} takes names of VMs with commas between, as web-1,web-2, or globs; --heal switches it off")
        return [one for one in text.split(",") if one]
    if (part, name) in _SECONDS and not text.startswith("{"):
        found = {}
        for one in text.split(","):
            glob, _, seconds = one.rpartition(":")
            try:
                found[glob or "*"] = float(seconds)
            except ValueError:
                raise BadSwitch(f"{name} takes GLOB:SECONDS, as web-1:0.5") from None
        return found
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if (part, name) in _SWITCHES and not isinstance(value, bool | dict):
        raise BadSwitch(f"{name} takes true or false, not {text!r}")
    if (part, name) in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
        raise BadSwitch(f"{name} takes seconds from 0, not {text!r}")
    if (wanted := _JSON.get((part, name))) and not isinstance(value, wanted):
        raise BadSwitch(f"{name} takes {KNOWN[part][name]}")
    return value
