"""CEL rules at the models, so that the model stays the one source of the CRD (x-kubernetes-validations).

Used by `vmscaler.api.meta` and the kinds; read by `vmscaler.api.crd`. Every message says what to do. The API server prints the
refused value and the field's path before it, so the message needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

Json = dict[str, Any]
VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """One CEL rule; as an annotation of a field (`self` is the field) or in `rules()` of a model (`self` is the object)."""

    rule: str
    message: str
    field_path: str = ""
    """Which field below `self` is refused, where that is not `self`: e.g. ".metadata" (the API server knows no path below it)."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        schema = dict(handler(core_schema))
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), self.wire()]
        return schema

    def wire(self) -> Json:
        """As apiextensions/v1 has it."""
        return {"rule": self.rule, "message": self.message, **({"fieldPath": self.field_path} if self.field_path else {})}


@dataclass(frozen=True)
class Says:
    """Says in words what a string's pattern demands.

    The pattern leaves the schema and becomes a CEL rule with this message: the API server would otherwise answer with the bare
    regular expression. Put it after the StringConstraints that hold the pattern. `further` is asked only where the pattern holds.
    """

    message: str
    further: str = ""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        schema = dict(handler(core_schema))
        matches = f"self.matches({literal(schema.pop('pattern'))})"
        rule = Rule(f"{matches} && {self.further}" if self.further else matches, self.message)
        schema[VALIDATIONS] = [rule.wire(), *schema.get(VALIDATIONS, [])]
        return schema


@dataclass(frozen=True)
class CelOnly:
    """Drops the pattern from the schema where a rule says the same better. Put it after the StringConstraints."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        schema = dict(handler(core_schema))
        schema.pop("pattern", None)
        return schema


@dataclass(frozen=True)
class ListKey:
    """A list whose items are told apart by this field: two with the same are refused, and server-side apply merges by them."""

    key: str

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        schema = dict(handler(core_schema))
        return {**schema, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


def literal(text: str) -> str:
    """A CEL raw string literal. Raises ValueError for text that none can hold."""
    for quote in ("'", '"'):
        if quote not in text and "\n" not in text:
            return f"r{quote}{text}{quote}"
    raise ValueError(f"no raw CEL literal can hold {text!r}")


def rules(*of_the_object: Rule) -> Json:
    """For `model_config = ConfigDict(json_schema_extra=rules(...))`."""
    return {VALIDATIONS: [rule.wire() for rule in of_the_object]}


def immutable(what: str) -> Rule:
    """`what` is fixed once it is set."""
    return Rule("self == oldSelf", f"{what} is fixed: put the old value back, or delete this object and make a new one")


IS_IPV4 = Rule(
    "isIP(self) && ip(self).family() == 4 && ip.isCanonical(self)",
    "write a canonical IPv4 address: four decimal numbers 0-255 without leading zeros, e.g. 192.0.2.10",
)
IS_SUBNET = Rule(
    "isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self).masked() == cidr(self)",
    "write a canonical IPv4 subnet: the network's address (host bits zero), a slash and the prefix length, e.g. 192.0.2.0/24",
)


CA_FOR_HTTPS = Rule(
    "!self.url.startsWith('https:') || has(self.caBundle)",
    "an https url needs caBundle: add the PEM of the CA that signed the server's certificate",
)


def ipv4_number(address: str) -> str:
    """CEL for the number of an IPv4 address. Unrolled: a comprehension over the octets is beyond the cost budget
    (facts/controlplane.md, CEL), and CEL has no order for addresses."""
    octets = [f"int({address}.split('.')[{i}])" for i in range(4)]
    return "(" + " + ".join(f"{octet} * {256 ** (3 - i)}" for i, octet in enumerate(octets)) + ")"


def if_ipv4(*addresses: str, then: str) -> str:
    """`then` where all of these are IPv4 addresses; true otherwise, because the fields' own rules speak then."""
    return " || ".join([*(f"!isIP({address}) || ip({address}).family() != 4" for address in addresses), then])


def if_subnet(subnet: str, then: str) -> str:
    """`then` where this is a subnet; true otherwise, because the field's own rule speaks then."""
    return f"!isCIDR({subnet}) || {then}"
