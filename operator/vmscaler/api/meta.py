"""What all kinds share: metadata, conditions, references, the string types with their limits.

Every string has a maximum length and a pattern, because kopf and etcd have limits (facts/kopf.md) and because each string
ends up in somebody's YAML, XML, PromQL or path. `Text` excludes control characters.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "vmscaler.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/finalizer"

Json = dict[str, Any]

# Patterns hold for RE2 (the API server) and Python alike.
DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$", max_length=256)]
LongText = Annotated[str, StringConstraints(max_length=4096)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/\-]*)?$", max_length=512)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/\-]*$", max_length=512)]
InventoryPath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f\\]+$", max_length=512)]
InventoryName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\\/]+$", min_length=1, max_length=80)]
IpV4 = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$", max_length=15)]
Cidr = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$", max_length=18)]
Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", max_length=32)]
Pem = Annotated[str, StringConstraints(pattern=r"^\s*-----BEGIN CERTIFICATE-----", max_length=65536)]
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=512)]
PoolName = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.\-]+)*/?[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=255)]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=128)]
Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Model(BaseModel):
    """Base of all API models: camelCase on the wire, unknown fields ignored (the API server prunes them)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def wire(self) -> Json:
        """As the API server sees it: camelCase, no unset optional fields, times as RFC 3339."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OwnerReference(Model):
    """metav1.OwnerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """The part of metav1.ObjectMeta that is used."""

    name: str
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[OwnerReference] = Field(default_factory=list)


class ConditionStatus(StrEnum):
    """False means "is wrong"; Unknown means "cannot be seen" and never causes an effect."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=64)]
    status: ConditionStatus
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]([A-Za-z0-9_]*)$", max_length=64)]
    message: Annotated[str, StringConstraints(max_length=2048)] = ""
    last_transition_time: datetime
    observed_generation: int | None = None


class NameRef(Model):
    """A reference to an object by name (cluster-scoped, or in the same namespace)."""

    name: DnsName


class SecretRef(Model):
    """A Secret in the operator's namespace."""

    name: DnsName


class PolicyRef(Model):
    """Which AutoscalingPolicy, also after it was made anew: the UID decides."""

    namespace: DnsLabel
    name: DnsName
    uid: Annotated[str, StringConstraints(max_length=64)]


SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", bound=Model)


class PrinterColumn(Model):
    """A column of `kubectl get` (apiextensions additionalPrinterColumns)."""

    name: str
    type: Literal["string", "integer", "date", "boolean"] = "string"
    json_path: str
    description: str = ""
    priority: int = 0


class Resource(Model, Generic[SpecT, StatusT]):
    """A kind of ours: metadata, spec, status, and what the CRD generator and the Kubernetes port need to know of it."""

    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT: ClassVar[str]
    NAMESPACED: ClassVar[bool]
    COLUMNS: ClassVar[list[PrinterColumn]] = []

    metadata: ObjectMeta
    spec: SpecT
    status: StatusT

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone for cluster-scoped kinds."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name

    @property
    def uid(self) -> str:
        """metadata.uid; raises ValueError on an object that the API server has not seen."""
        if not self.metadata.uid:
            raise ValueError(f"{self.KIND} {self.key} has no UID yet")
        return self.metadata.uid

    @property
    def deleting(self) -> bool:
        """Whether a deletion timestamp is set."""
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def parse(cls, body: Json) -> Self:
        """From the API server's JSON; an absent status is an empty one."""
        return cls.model_validate({"status": {}, **body})

    def manifest(self) -> Json:
        """The whole object for a create, without status."""
        body = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"status"})
        return {"apiVersion": API_VERSION, "kind": self.KIND, **body}
