"""What the OCSF schema says about the name of an attribute."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import ocsf_json_schema


@lru_cache
def _schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes that any OCSF class may have, and the objects, of the newest released version
    in the package."""
    packaged = ocsf_json_schema.get_packaged_versions()
    released = [v for v in packaged if re.fullmatch(r"\d+(\.\d+)*", v)]
    newest = max(released, key=lambda v: [int(n) for n in v.split(".")])
    schema = ocsf_json_schema.get_ocsf_schema(newest)
    dictionary = schema.get("dictionary", {}).get("attributes") or schema.get(
        "dictionary_attributes", {}
    )
    classes = {
        name: a
        for c in schema["classes"].values()
        for name, a in c["attributes"].items()
        if a.get("enum")
    }
    return {**dictionary, **classes}, schema["objects"]


@lru_cache(maxsize=65536)
def schema_type(name: str) -> tuple[str, bool] | None:
    """The OCSF type of a flattened column (`traffic.bytes` is `long_t`) and whether it is an
    enumeration.

    None for a column that the schema does not know.
    """
    attributes, objects = _schema()
    attribute: dict[str, Any] = {}
    for part in name.split("."):
        if attribute.get("is_array") and part == "first":
            continue
        if part not in attributes:
            return None
        attribute = attributes[part]
        inside = attribute.get("object_type", "") if attribute.get("type") == "object_t" else ""
        attributes = objects.get(inside, {}).get("attributes", {})
    type_name = attribute.get("type", "")
    if type_name in ("object_t", "json_t", ""):
        return None
    return type_name, bool(attribute.get("enum"))


@lru_cache(maxsize=65536)
def dotted(name: str) -> str:
    """The OCSF name that a flat one stands for: `src_endpoint.ip` of `src_endpoint_ip`.

    The name itself if the schema has it, or reads it in no way, or in several.
    """
    attributes, _ = _schema()
    ways = [] if name in attributes else list(_ways(attributes, name))
    return ways[0] if len(ways) == 1 else name


def _ways(attributes: dict[str, Any], name: str) -> Iterator[str]:
    if name in attributes:
        yield name
    _, objects = _schema()
    for cut in (found.start() for found in re.finditer("_", name)):
        attribute = attributes.get(name[:cut], {})
        if attribute.get("type") == "object_t" and not attribute.get("is_array"):
            inside = objects.get(attribute.get("object_type", ""), {}).get("attributes", {})
            for way in _ways(inside, name[cut + 1 :]):
                yield f"{name[:cut]}.{way}"
