"""What all kinds share: metadata, conditions, references, the string types with their limits.

Every string has a maximum length and a pattern, because kopf and etcd have limits (facts/kopf.md) and because each string
ends up in somebody's YAML, XML, PromQL or path. CEL rules and messages stand beside the patterns (vmscaler.api.cel).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from vmscaler.api.cel import IS_IPV4, IS_SUBNET, CelOnly, ListKey, Rule, Says
from vmscaler.api.printable import printable

GROUP = "vmscaler.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/finalizer"
LONGEST = "24h"

Json = dict[str, Any]

# Patterns hold for RE2 (the API server) and Rust's regex (pydantic) alike: no look-around, \x{...} and not \u....
# Cc: control characters; Cf: invisible formatting (bidi overrides, zero-width joiners, BOM); Zl, Zp: U+2028, U+2029.
_NO_CONTROL = "remove control characters, line breaks and invisible formatting characters"
DnsLabel = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63),
    Says("use lower-case letters, digits and '-', with a letter or digit at both ends"),
]
DnsName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253),
    Says("use lower-case letters, digits, '-' and '.', with a letter or digit at both ends"),
]
Text = Annotated[str, StringConstraints(pattern=r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$", max_length=256), Says(_NO_CONTROL)]
LongText = Annotated[
    str,
    StringConstraints(pattern=r"^([^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|[\n\t])*$", max_length=4096),
    Says("remove control and invisible formatting characters; line feeds and tabs may stay"),
]
Url = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/\-]*)?$", max_length=512),
    Says("write https://host[:port][/path] (or http://), with no user, query or fragment: credentials belong in the Secret"),
]
HttpsUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/\-]*)?$", max_length=512),
    Says("write https://host[:port][/path], with no user, query or fragment: credentials belong in the Secret and go over TLS only"),
]
AbsolutePath = Annotated[
    str,
    StringConstraints(pattern=r"^(/\.?[A-Za-z0-9_\-][A-Za-z0-9._\-]*)+/?$", max_length=512),
    Says("write an absolute path of letters, digits and '._-', without '..'"),
]
InventoryPath = Annotated[
    str,
    StringConstraints(pattern=r"^(/[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\/]+)+$", max_length=512),
    Says(r"write the inventory path from the datacenter on, e.g. /DC0/vm/web, without control characters and '\'"),
]
InventoryName = Annotated[
    str,
    StringConstraints(pattern=r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\/]+$", min_length=1, max_length=80),
    Says(r"write the name as vCenter shows it, without '/', '\' and control characters"),
]
IpV4 = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$", max_length=15), CelOnly(), IS_IPV4]
Cidr = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$", max_length=18), CelOnly(), IS_SUBNET]
# The order is Go's own and each number has five digits at most, so that no sum overflows in CEL's duration().
Duration = Annotated[
    str,
    StringConstraints(
        pattern=r"^([0-9]{1,5}(\.[0-9]{1,3})?h)?([0-9]{1,5}(\.[0-9]{1,3})?m)?([0-9]{1,5}(\.[0-9]{1,3})?s)?([0-9]{1,5}ms)?$",
        min_length=2,
        max_length=32,
    ),
    Says(
        f"write a duration of at most {LONGEST} such as 90s, 5m or 1h30m (units h, m, s, ms, in this order)",
        further=f"duration(self) <= duration('{LONGEST}')",
    ),
]
PositiveDuration = Annotated[Duration, Rule("self.matches('[1-9]')", "write a duration above zero, e.g. 5m")]
Pem = Annotated[
    str,
    StringConstraints(pattern=r"^\s*-----BEGIN CERTIFICATE-----([^\p{Cc}\p{Cf}]|[\r\n\t])*$", max_length=65536),
    Says("write PEM certificates that begin with -----BEGIN CERTIFICATE-----"),
    Rule("!self.contains('PRIVATE KEY')", "remove the private key (and treat it as lost): only certificates belong here"),
]
Argument = Annotated[str, StringConstraints(pattern=r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$", max_length=512), Says(_NO_CONTROL)]
PoolName = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9_.\-]+)*/?[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=255),
    Says("write the pool's full path, e.g. /Common/pool-web: letters, digits and '_.-'"),
]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=128)]
Labels = Annotated[
    dict[LabelName, Text],
    Field(max_length=16),
    Rule(
        "self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_]{0,127}$'))",
        "write label names of letters, digits and '_' that do not begin with a digit, at most 128 characters long",
    ),
    Rule(
        "self.all(name, !(name in ['job', 'instance']) && !name.startsWith('__'))",
        "remove job, instance and names that begin with '__': these are Prometheus' own (prometheusJob says the job)",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[int, Field(ge=0, le=100)]
Generation = Annotated[int, Field(ge=0, le=2**53 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Uid = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9\-]*)?$", max_length=64)]


def _shown(limit: int) -> BeforeValidator:
    def shown(value: object) -> object:
        if not isinstance(value, str):
            return value
        text = printable(value)
        return text if len(text) <= limit else f"{text[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"

    return BeforeValidator(shown)


def clip(limit: int) -> BeforeValidator:
    """Keep the first `limit` items: for lists in a status, where a refused write would be worse than a short list."""
    return BeforeValidator(lambda value: value[:limit] if isinstance(value, list) else value)


# What other systems say goes into a status: made printable, and cut rather than refused. Words are shown in columns, messages are read.
Word = Annotated[str, _shown(256), StringConstraints(max_length=256)]
Link = Annotated[str, _shown(1024), StringConstraints(max_length=1024)]
Message = Annotated[str, _shown(2048), StringConstraints(max_length=2048)]
# Shown in columns, where microseconds would cost the width of two others.
WholeSecond = Annotated[datetime, AfterValidator(lambda value: value.replace(microsecond=0))]


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
    message: Message = ""
    last_transition_time: WholeSecond
    observed_generation: Generation | None = None


Conditions = Annotated[list[Condition], Field(max_length=32), ListKey("type")]


class NameRef(Model):
    """A reference to an object by name (cluster-scoped, or in the same namespace)."""

    name: DnsName = Field(description="The object's name.")


class SecretRef(Model):
    """A Secret in the operator's namespace."""

    name: DnsName = Field(description="The Secret's name.")


class PolicyRef(Model):
    """Which AutoscalingPolicy, also after it was made anew: the UID decides."""

    namespace: DnsLabel
    name: DnsName
    uid: Uid


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
    RULES: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules at the root of the object, where metadata.name can be seen."""

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
