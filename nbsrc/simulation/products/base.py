"""What the events of all products share: OCSF's base event, its metadata, and two profiles."""

from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

Event = dict[str, Any]

_SEVERITIES = ("Unknown", "Informational", "Low", "Medium")
_REGIONS = ("eu-central-1", "eu-central-1", "eu-west-1", "us-east-1")
ORGANIZATION = {"name": "Example Corp", "uid": "o-1"}
CLOUD_ACCOUNT = {"type_id": 10, "type": "AWS Account"}


def coded(attribute: str, number: int, caption: str) -> Event:
    """An OCSF enumeration: its number under `attribute`_id, and the caption of that number."""
    return {f"{attribute}_id": number, attribute: caption}


def digits(rng: Random, bits: int) -> str:
    """A random identifier of `bits` bits, in hexadecimal."""
    return f"{rng.getrandbits(bits):0{bits // 4}x}"


def uuid(rng: Random) -> str:
    text = digits(rng, 128)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _date(ms: int) -> str:
    date = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return date.replace("+00:00", "Z")


class Sensor:
    """A product that writes events of one class, with a schema version, profiles and gaps of its
    own.

    Gaps and jitter follow from `rng`; times are epoch milliseconds, `start` the stream's first."""

    class_uid: int
    class_name: str
    category: str
    activities: Mapping[int, str]
    product: tuple[str, str, str]  # vendor, name, version
    schema = "1.3.0"

    def __init__(self, rng: Random, start: int) -> None:
        self.rng, self.start = rng, start

    def event(
        self,
        time: int,
        activity: int,
        profiles: list[str],
        *,
        ok: bool | None = None,
        version: str | None = None,
    ) -> Event:
        """The base event; `ok` sets the status, `version` replaces the product's."""
        rng = self.rng
        vendor, product, usual = self.product
        version = version or usual
        r = rng.random()
        severity = 1 if r < 0.93 else 2 if r < 0.985 else 3
        lag = int(rng.lognormvariate(6.5, 1.0))
        metadata: Event = {
            "uid": uuid(rng),
            "version": self.schema,
            "profiles": profiles,
            "logged_time": time + lag,
            "product": {"vendor_name": vendor, "name": product, "version": version, "lang": "en"},
        }
        event: Event = {
            "class_uid": self.class_uid,
            "class_name": self.class_name,
            "category_uid": self.class_uid // 1000,
            "category_name": self.category,
            "activity_id": activity,
            "activity_name": self.activities[activity],
            "type_uid": self.class_uid * 100 + activity,
            "type_name": f"{self.class_name}: {self.activities[activity]}",
            **coded("severity", severity, _SEVERITIES[severity]),
            "time": time,
            "metadata": metadata,
        }
        if rng.random() < 0.6:
            metadata["processed_time"] = time + lag + rng.randint(20, 4000)
        if rng.random() < 0.3:
            metadata["correlation_uid"] = digits(rng, 64)
        if rng.random() < 0.4:
            metadata["log_name"] = self.class_name.lower().replace(" ", "-")
            metadata["log_provider"] = product
        if rng.random() < 0.2:
            metadata |= {"tenant_uid": "t-4711", "log_version": "2", "original_time": str(time)}
        if rng.random() < 0.5:
            feature = {"name": self.class_name, "uid": f"f{self.class_uid}", "version": version}
            metadata["product"]["feature"] = feature
        if rng.random() < 0.15:
            metadata["labels"] = rng.sample(("tier1", "pci", "internal", "archived"), 2)
        if rng.random() < 0.1:
            event["timezone_offset"] = 60
        if ok is not None:
            event |= coded("status", *((1, "Success") if ok else (2, "Failure")))
        if "datetime" in profiles:
            event["time_dt"], metadata["logged_time_dt"] = _date(time), _date(time + lag)
        return event

    def cloud(self) -> Event:
        """The cloud profile's object: provider, region, account."""
        rng = self.rng
        region = rng.choice(_REGIONS)
        out: Event = {"provider": "AWS", "region": region}
        if rng.random() < 0.7:
            out["account"] = {"uid": "111122223333", "name": "example-prod", **CLOUD_ACCOUNT}
        if rng.random() < 0.3:
            out["zone"] = region + rng.choice("abc")
            out["org"] = {**ORGANIZATION, "ou_name": "prod", "ou_uid": "ou-prod"}
        if rng.random() < 0.2:
            out["project_uid"] = "p-100"
        return out

    def control(self, *, ok: bool = True) -> Event:
        """The security_control profile's attributes: what the product did, and a rule that now and
        then matches anything."""
        rng = self.rng
        out = coded("action", *((1, "Allowed") if ok else (2, "Denied")))
        out |= coded("disposition", *((1, "Allowed") if ok else (2, "Blocked")))
        if rng.random() < 0.4:
            out["firewall_rule"] = {
                "uid": f"r-{rng.randint(10, 60)}",
                "name": "default policy",
                "type": "dynamic",
                "version": "12",
                "category": "general",
                "sensitivity": "medium",
            }
        if rng.random() < 0.004:  # false alarms: rules are wrong at random here
            tactic = {"uid": "TA0011", "name": "Command and Control"}
            technique = {"uid": "T1071", "name": "Application Layer Protocol"}
            out["attacks"] = [{"version": "14.1", "tactic": tactic, "technique": technique}]
        return out
