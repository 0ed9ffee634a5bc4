"""ScaleOutEvent and ScaleInEvent: one scaling, from claim to end. The record that people read."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from vmscaler.api.cel import immutable, rules
from vmscaler.api.meta import Conditions, Count, DnsName, Message, Model, NameRef, PolicyRef, PrinterColumn, Resource, Word
from vmscaler.api.policystatus import BuildRef, Cause


class EventPhase(StrEnum):
    """Running -> Succeeded, or Running -> RollingBack -> Failed."""

    RUNNING = "Running"
    ROLLING_BACK = "RollingBack"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ActionState(StrEnum):
    """Started is written before the effect (the intent); Done and Failed after it."""

    STARTED = "Started"
    DONE = "Done"
    FAILED = "Failed"


class Action(Model):
    """One action on one instance, with its times and what came of it."""

    name: Word
    instance: Word
    state: ActionState
    started_at: datetime
    finished_at: datetime | None = None
    duration: Word | None = None
    attempts: Count = 1
    message: Message = ""
    address: Word | None = None
    vm_id: Word | None = None
    vm_ip: Word | None = None
    pool: Word | None = None
    member: Word | None = None


class Rollback(Model):
    """The clean-up after a failure."""

    started_at: datetime
    finished_at: datetime | None = None
    reason: Word = ""
    message: Message = ""


class ScaleEventSpec(Model):
    """Fixed at the claim."""

    model_config = ConfigDict(json_schema_extra=rules(immutable("an event's spec")))

    policy_ref: PolicyRef
    site_ref: NameRef
    sequence: Count
    step: Count = 1
    from_instances: Count
    to_instances: Count
    cause: Cause
    build: BuildRef
    instances: Annotated[list[DnsName], Field(max_length=20)]


class ScaleEventStatus(Model):
    """Written by the step that runs (its action), and by the settling of the event."""

    phase: EventPhase = EventPhase.RUNNING
    stage: Word = "claim"
    reason: Word = ""
    message: Message = ""
    failed_stage: Word | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: Word | None = None
    actions: Annotated[list[Action], Field(max_length=200)] = []
    rollback: Rollback | None = None
    conditions: Conditions = []


class ScaleOutEvent(Resource[ScaleEventSpec, ScaleEventStatus]):
    """One scale-out: why, which build, each action with its times, how it ended."""

    KIND: ClassVar[str] = "ScaleOutEvent"
    PLURAL: ClassVar[str] = "scaleoutevents"
    SHORT: ClassVar[str] = "soe"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Phase", json_path=".status.phase"),
        PrinterColumn(name="Stage", json_path=".status.stage"),
        PrinterColumn(name="Reason", json_path=".status.reason"),
        PrinterColumn(name="Duration", json_path=".status.duration"),
        PrinterColumn(name="Build", type="integer", json_path=".spec.build.number", priority=1),
        PrinterColumn(name="From", type="integer", json_path=".spec.fromInstances", priority=1),
        PrinterColumn(name="To", type="integer", json_path=".spec.toInstances", priority=1),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]


class ScaleInEvent(Resource[ScaleEventSpec, ScaleEventStatus]):
    """One scale-in: the same schema in the other direction."""

    KIND: ClassVar[str] = "ScaleInEvent"
    PLURAL: ClassVar[str] = "scaleinevents"
    SHORT: ClassVar[str] = "sie"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = ScaleOutEvent.COLUMNS
