"""What things are called outside and inside: one place, pure, so that a name written before an effect is the name found after a crash.

Called by flows/provision.py (jobs, files, credentials), flows/claim.py (events, instances) and flows/allocate.py (leases). A name that has to be
cut, or whose characters had to change, carries a hash of the whole original, so that two originals never share a name. File names mark
such a hash with `_`, which no Kubernetes name can contain.
"""

from __future__ import annotations

import hashlib
import re

OBJECT_NAME = 63
"""Limit of names that also stand in labels, host names and VM names (RFC 1123 label)."""
EVENT_NAME = OBJECT_NAME - len("-9999")
"""An event's name leaves room for the numbers of its instances."""
JOB_NAME = 120
FILE_NAME = 200
LEASE_NAME = 253
DEFAULT_JOB_PREFIX = "autoscale-"

_UNWANTED = re.compile(r"[^a-z0-9]+")


def _digest(text: str, length: int = 8) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def slug(text: str) -> str:
    """Lower case letters, digits and single inner hyphens, for reading; not unique. Nothing usable left gives `x`."""
    return _UNWANTED.sub("-", text.lower()).strip("-") or "x"


def shorten(text: str, limit: int, mark: str = "-") -> str:
    """`text` where it fits into `limit` characters, else its beginning, `mark` and a hash of the whole. Raises ValueError on a limit below 10."""
    if limit < 10:
        raise ValueError(f"a limit of {limit} leaves no room for a hash")
    if len(text) <= limit:
        return text
    return text[: limit - 8 - len(mark)].rstrip("-.") + mark + _digest(text)


def job_name(customer: str, service: str, prefix: str = DEFAULT_JOB_PREFIX, explicit: str | None = None) -> str:
    """The Jenkins job: `explicit` as it is, else `<prefix><customer>-<service>` as a slug.

    Two policies can ask for one name (a-b + c, a + b-c): the job's description says whose it is, and the second is refused.
    """
    return explicit or shorten(slug(f"{prefix}{customer}-{service}"), JOB_NAME)


def hook_credential(policy_uid: str) -> str:
    """Jenkins' credential that holds the webhook's token."""
    return f"vmscaler-hook-{slug(policy_uid)}"


def step_credential(policy_uid: str) -> str:
    """Jenkins' credential that holds the step client's token."""
    return f"vmscaler-step-{slug(policy_uid)}"


def receiver(namespace: str, policy: str) -> str:
    """Receiver and route in alertmanager.yml."""
    return f"vmscaler/{namespace}/{policy}"


def _file(namespace: str, policy: str, extension: str) -> str:
    # A namespace has no dot, so that the first dot always ends it.
    return shorten(f"vmscaler-{namespace}.{policy}", FILE_NAME - len(extension), "_") + extension


def rule_file(namespace: str, policy: str) -> str:
    """The policy's rule file."""
    return _file(namespace, policy, ".yml")


def targets_file(namespace: str, policy: str) -> str:
    """The policy's file_sd file."""
    return _file(namespace, policy, ".json")


def token_file(namespace: str, policy: str) -> str:
    """The file at Alertmanager that holds the webhook's token."""
    return _file(namespace, policy, ".token")


def event_name(policy: str, policy_uid: str, sequence: int) -> str:
    """`<policy>-<5 of the UID>-<sequence>`, at most EVENT_NAME characters, usable as a label value and in a host name.

    A policy made anew has another UID and so never meets the old one's events. Raises ValueError on a negative sequence.
    """
    if sequence < 0:
        raise ValueError(f"a sequence is not negative: {sequence}")
    uid = slug(policy_uid).replace("-", "")
    tail = f"-{uid[:5]}-{sequence}"
    room = EVENT_NAME - len(tail)
    plain = slug(policy)
    if plain == policy and len(plain) <= room:
        return plain + tail
    return f"{plain[: room - 9].rstrip('-')}-{_digest(policy)}{tail}"


def instance_name(event: str, number: int) -> str:
    """`<event>-<number>`, numbers from 1 to 9999. Raises ValueError outside."""
    if not 1 <= number <= 9999:
        raise ValueError(f"an event has instances 1 to 9999, not {number}")
    return f"{event}-{number}"


def lease_name(site: str, network: str, address: str) -> str:
    """`<site>.<network>.<address>`: the API server makes it unique. A network has no dot, so two of them never meet."""
    tail = f".{network}.{address}"
    return shorten(site, LEASE_NAME - len(tail)) + tail
