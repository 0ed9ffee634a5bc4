"""Make what others said fit for a status: the one place that every status passes on its way out.

Their words end up there (promtool's output, a BIG-IP's message, an address that a guest reports). A status that the API server
refuses for one long string is stuck (facts/kopf.md), so a string is cut to the bound that the CRD states; and what would act on the
terminal of whoever reads it is a blank. A spec is never touched.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from vmscaler.api.crd import schema_of
from vmscaler.api.meta import Json, Resource
from vmscaler.api.printable import printable


def fit_status(kind: type[Resource[Any, Any]], status: Json) -> Json:
    """The status with every string printable and inside its bound. `None` (remove, in a merge patch) stays."""
    fitted = _fit(status, _status_schema(kind))
    return fitted if isinstance(fitted, dict) else status


@cache
def _status_schema(kind: type[Resource[Any, Any]]) -> Json:
    schema: Json = schema_of(kind)["properties"]["status"]
    return schema


def _fit(value: Any, schema: Json) -> Any:
    if isinstance(value, str):
        value = printable(value)
        limit = schema.get("maxLength", len(value))
        return value if len(value) <= limit else f"{value[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"
    if isinstance(value, list):
        return [_fit(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        return {key: _fit(item, properties.get(key, rest)) for key, item in value.items()}
    return value
