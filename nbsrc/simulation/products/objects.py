"""OCSF objects that several products put into their events: Location, User, Device, and Network
Endpoint for a public address. Which attributes are there depends on chance."""

from random import Random

from nbsrc.simulation.company import Host, Source, User
from nbsrc.simulation.products.base import CLOUD_ACCOUNT, ORGANIZATION, Event, coded
from nbsrc.simulation.world import DAY, Place


def location(rng: Random, place: Place, *, on_premises: bool = False) -> Event:
    out: Event = {"country": place.country}
    if rng.random() < 0.9:
        out |= {"city": place.city, "region": place.region}
    if rng.random() < 0.6:
        out["coordinates"] = [place.long, place.lat]
    if rng.random() < 0.2:
        out["is_on_premises"] = on_premises
    return out


def public_address(rng: Random, source: Source) -> Event:
    """A public address, as a login or a call of an API shows it."""
    out: Event = {"ip": source.ip}
    if rng.random() < 0.9:
        out["location"] = location(rng, source.place)
    if rng.random() < 0.7:
        out["autonomous_system"] = {"number": source.asn, "name": source.isp}
    if rng.random() < 0.3 and "location" in out:
        out["location"]["isp"] = source.isp
    return out


def account_of(rng: Random, user: User, start: int, *, detail: float = 0.3) -> Event:
    """`user` as a product names it; with probability `detail`, with the directory's entry."""
    kind = 3 if user.role == "service" else 2 if "admins" in user.groups else 1
    email, (given, surname) = f"{user.name}@corp.example", user.full_name.split()
    out: Event = {
        "name": user.name,
        "uid": user.uid,
        **coded("type", kind, ("User", "Admin", "System")[kind - 1]),
    }
    if rng.random() < 0.6:
        out |= {"email_addr": email, "full_name": user.full_name, "domain": "CORP"}
    if rng.random() < detail:
        out["groups"] = [{"name": g, "uid": f"g-{g}", "type": "Security"} for g in user.groups]
        out["org"] = {**ORGANIZATION, "ou_name": user.role, "ou_uid": f"ou-{user.role}"}
    if rng.random() < detail:
        out["account"] = {"name": user.name, "uid": f"a-{user.employee}", **CLOUD_ACCOUNT}
        out |= {"uid_alt": f"u{user.employee}", "credential_uid": user.credential}
    if rng.random() < detail * 0.6:
        out["ldap_person"] = {
            "employee_uid": str(user.employee),
            "job_title": user.title,
            "cost_center": f"cc-{len(user.role)}0",
            "given_name": given,
            "surname": surname,
            "ldap_cn": user.full_name,
            "ldap_dn": f"cn={user.name},ou={user.role},dc=corp,dc=example",
            "hire_time": start - user.hired * DAY,
            "office_location": user.place.city,
            "email_addrs": [email],
            "location": {"country": user.place.country},
        }
    return out


def device(rng: Random, host: Host, start: int, *, detail: float) -> Event:
    """`host` as the endpoint agent's inventory has it; old agents know less."""
    name, type_id, kind, version, build, edition = host.os
    out: Event = {
        "hostname": host.name,
        "uid": host.uid,
        "ip": host.ip,
        **coded("type", *host.kind),
        "os": {"name": name, **coded("type", type_id, kind), "version": version},
    }
    if rng.random() < detail:
        out["os"] |= {
            "build": build,
            "edition": edition,
            "cpu_bits": 64,
            "lang": "en",
            "country": host.place.country,
            "cpe_name": f"cpe:2.3:o:{kind.lower()}:{version}",
        }
        out |= {
            "domain": "corp.example",
            "mac": host.mac,
            "name": host.name.split(".")[0],
            "region": host.place.region,
            "subnet": f"10.20.{host.subnet}.0/24",
        }
    if rng.random() < detail:
        out |= {
            "is_managed": True,
            "is_compliant": rng.random() < 0.97,
            "is_personal": False,
            "is_trusted": True,
            "boot_time": start - host.boot * 1000,
            "first_seen_time": start - host.boot * 3000,
            **coded("risk_level", 1, "Low"),
            "risk_score": rng.randint(0, 30),
        }
    if host.rich and rng.random() < detail:
        out["hw_info"] = {
            "cpu_cores": host.cores,
            "cpu_count": 1,
            "cpu_bits": 64,
            "cpu_speed": 2400,
            "cpu_type": "x86_64",
            "ram_size": host.ram,
            "serial_number": host.serial,
            "bios_ver": "1.14.0",
            "bios_date": "2024/01/15",
            "bios_manufacturer": "Boardworks",
            "chassis": "Rack" if host.is_server else "Laptop",
        }
        wired = {"name": "eth0", "ip": host.ip, "mac": host.mac, **coded("type", 1, "Wired")}
        agent = {
            "name": "endpoint",
            **coded("type", 1, "Endpoint Detection and Response"),
            "version": host.agent,
            "uid": f"ag-{host.uid[:8]}",
        }
        out |= {"network_interfaces": [wired], "vlan_uid": f"vlan-{host.subnet}"}
        out |= {"zone": host.zone, "agent_list": [agent]}
    if rng.random() < detail * 0.4:
        group = "servers" if host.is_server else "laptops"
        out["groups"] = [{"name": group, "uid": f"dg-{int(host.is_server)}"}]
        out["location"] = location(rng, host.place, on_premises=True)
        out["org"] = {**ORGANIZATION}
    return out
