"""AutoscalingPolicy's status: what was resolved and provisioned, who serves, and the claim's own fields."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from vmscaler.api.meta import Conditions, Count, Generation, Link, Message, Model, Word, clip


class BuildRef(Model):
    """A build's identity: job, generation of the job (a job made anew counts from 1 again), number (facts/jenkins.md 3)."""

    job: Word
    generation: Word
    number: Count
    url: Link = ""


class Cause(Model):
    """Why: the alert as Alertmanager showed it at the claim, or who asked."""

    alert: Word = ""
    value: Word = ""
    summary: Message = ""
    starts_at: datetime | None = None
    fingerprint: Word = ""
    requested_by: Word = "Alertmanager"


class ActiveEvent(Model):
    """The scale event that holds the policy; set and cleared by compare-and-swap only."""

    event: Word
    kind: Word
    build: BuildRef
    since: datetime
    from_instances: Count = 0
    cause: Cause = Cause()


class Decision(Model):
    """What a claim was answered, and why. A repeated "no" is written when its reason changes; `count` tells how often."""

    time: datetime
    last_time: datetime
    count: Count = 1
    accepted: bool
    reason: Word
    message: Message
    build: BuildRef
    event: Word | None = None


class ClaimStatus(Model):
    """The claim's fields: written by compare-and-swap on resourceVersion, by the claim and the settling of an event."""

    active: ActiveEvent | None = None
    sequence: Count = 0
    cooldown_until: datetime | None = None
    cooldown_reason: Message | None = None
    failures: Count = 0
    last_event: Word | None = None
    decisions: Annotated[list[Decision], Field(max_length=50)] = []


class Resolved(Model):
    """What the names in the spec stand for."""

    template_mo_ref: Word | None = None
    pool: Word | None = None
    member_port: Count | None = None
    virtual_servers: Annotated[list[Word], Field(max_length=64), clip(64)] = []
    network: Word | None = None
    baseline_members: Annotated[list[Word], Field(max_length=1000), clip(1000)] = []


class Provisioned(Model):
    """What was made outside, written before it is made: what a removal has to look for."""

    job: Word | None = None
    job_generation: Word | None = None
    job_hash: Word | None = None
    receiver: Word | None = None
    rule_file: Link | None = None
    targets_file: Link | None = None
    token_file: Link | None = None


class Instances(Model):
    """How many serve: members of the pool that people made, and ours."""

    baseline: Count = 0
    ours: Count = 0
    total: Count = 0
    names: Annotated[list[Word], Field(max_length=1000), clip(1000)] = []


class AutoscalingPolicyStatus(Model):
    """One writer for each field: `claim` by compare-and-swap, all else by the reconcile."""

    observed_generation: Generation | None = None
    conditions: Conditions = []
    resolved: Resolved | None = None
    provisioned: Provisioned | None = None
    instances: Instances | None = None
    claim: ClaimStatus | None = None
