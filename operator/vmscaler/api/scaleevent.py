"""ScaleOutEvent and ScaleInEvent: one scaling, from claim to end. The record that people read."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from vmscaler.api.autoscalingpolicy import BuildRef, Cause
from vmscaler.api.meta import Condition, Model, NameRef, PolicyRef, PrinterColumn, Resource


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

    name: str
    instance: str
    state: ActionState
    started_at: datetime
    finished_at: datetime | None = None
    duration: str | None = None
    attempts: int = 1
    message: str = ""
    address: str | None = None
    vm_id: str | None = None
    vm_ip: str | None = None
    pool: str | None = None
    member: str | None = None


class Rollback(Model):
    """The clean-up after a failure."""

    started_at: datetime
    finished_at: datetime | None = None
    reason: str = ""
    message: str = ""


class ScaleEventSpec(Model):
    """Fixed at the claim."""

    policy_ref: PolicyRef
    site_ref: NameRef
    sequence: int
    step: int = 1
    from_instances: int
    to_instances: int
    cause: Cause
    build: BuildRef
    instances: list[str]


class ScaleEventStatus(Model):
    """Written by the step that runs (its action), and by the settling of the event."""

    phase: EventPhase = EventPhase.RUNNING
    stage: str = "claim"
    reason: str = ""
    message: str = ""
    failed_stage: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: str | None = None
    actions: list[Action] = []
    rollback: Rollback | None = None
    conditions: list[Condition] = []


class ScaleOutEvent(Resource[ScaleEventSpec, ScaleEventStatus]):
    """One scale-out: why, which build, each action with its times, how it ended."""

    KIND: ClassVar[str] = "ScaleOutEvent"
    PLURAL: ClassVar[str] = "scaleoutevents"
    SHORT: ClassVar[str] = "soe"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Phase", json_path=".status.phase"),
        PrinterColumn(name="Stage", json_path=".status.stage"),
        PrinterColumn(name="From", type="integer", json_path=".spec.fromInstances"),
        PrinterColumn(name="To", type="integer", json_path=".spec.toInstances"),
        PrinterColumn(name="Build", type="integer", json_path=".spec.build.number"),
        PrinterColumn(name="Duration", json_path=".status.duration"),
        PrinterColumn(name="Reason", json_path=".status.reason"),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]


class ScaleInEvent(Resource[ScaleEventSpec, ScaleEventStatus]):
    """One scale-in: the same schema in the other direction."""

    KIND: ClassVar[str] = "ScaleInEvent"
    PLURAL: ClassVar[str] = "scaleinevents"
    SHORT: ClassVar[str] = "sie"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = ScaleOutEvent.COLUMNS
