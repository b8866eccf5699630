"""OCSF objects of a connection, as the web gateway and the flow collector see it: Network Endpoint
(both ends), Network Traffic, TLS."""

from random import Random

from nbsrc.simulation.company import Host, Service, Site
from nbsrc.simulation.products.base import Event, coded, digits
from nbsrc.simulation.products.objects import location

_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


def near_end(rng: Random, host: Host) -> Event:
    """A machine of the company that opens a connection."""
    out: Event = {"ip": host.ip, "port": rng.randint(1024, 65535)}
    if rng.random() < 0.8:
        out |= {"hostname": host.name, "uid": host.uid, **coded("type", *host.kind)}
    if rng.random() < 0.4:
        subnet = f"{host.subnet:03d}"
        out |= {"mac": host.mac, "vlan_uid": f"vlan-{subnet}", "subnet_uid": f"net-{subnet}"}
    if rng.random() < 0.3:
        out["zone"] = host.zone
        out["os"] = {"name": host.os[0], **coded("type", host.os[1], host.os[2])}
    if rng.random() < 0.15:
        out |= {
            "domain": "corp.example",
            "interface_name": "eth0",
            "interface_uid": f"if-{host.uid[:6]}",
            "instance_uid": f"i-{host.uid[:10]}",
        }
    if rng.random() < 0.5:
        out["location"] = location(rng, host.place, on_premises=True)
    return out


def far_end(rng: Random, target: Host | Service | Site, port: int) -> Event:
    """The other end; inside or outside, the same attributes may be there."""
    if isinstance(target, Site):
        source, name, zone = target.source, target.domain, "outside"
        ip, place, asn, isp = source.ip, source.place, source.asn, source.isp
    else:
        host = target.host if isinstance(target, Service) else target
        name, zone = target.domain if isinstance(target, Service) else target.name, "servers"
        ip, place, asn, isp = host.ip, host.place, 64500, "Example Corp"
    out: Event = {"ip": ip, "port": port}
    if rng.random() < 0.9:
        out["hostname"] = name
    if rng.random() < 0.8:
        out["location"] = location(rng, place, on_premises=zone == "servers")
    if rng.random() < 0.6:
        out["autonomous_system"] = {"number": asn, "name": isp}
    if rng.random() < 0.4:
        out |= {"zone": zone, **coded("type", 1, "Server")}
    if rng.random() < 0.2:
        out["svc_name"] = "https" if port == 443 else "other"
    return out


def traffic(rng: Random, up: float, down: float) -> Event:
    """Bytes, and mostly packets, in both directions."""
    out, back = int(up), int(down)
    counts: Event = {"bytes": out + back, "bytes_out": out, "bytes_in": back}
    if rng.random() < 0.7:
        sent, received = (3 + size // rng.randint(900, 1400) for size in (out, back))
        counts |= {"packets": sent + received, "packets_out": sent, "packets_in": received}
    return counts


def tls(rng: Random, name: str, start: int) -> Event:
    """The encryption of a connection to `name`."""
    out: Event = {"version": "1.3" if rng.random() < 0.8 else "1.2", "sni": name}
    md5 = coded("algorithm", 1, "MD5")
    if rng.random() < 0.5:
        out |= {
            "cipher": rng.choice(_CIPHERS),
            "key_length": 256,
            "handshake_dur": int(rng.lognormvariate(3.5, 0.6)),
            "ja3_hash": {**md5, "value": f"{rng.getrandbits(20) * 7919:032x}"},
            "ja3s_hash": {**md5, "value": f"{rng.getrandbits(12) * 104729:032x}"},
        }
    if rng.random() < 0.2:
        out["certificate"] = {
            "issuer": "CN=Example CA",
            "subject": f"CN={name}",
            "serial_number": digits(rng, 60),
            "version": "3",
            "is_self_signed": False,
            "created_time": start - 5_000_000_000,
            "expiration_time": start + 9_000_000_000,
            "fingerprints": [{**coded("algorithm", 3, "SHA-256"), "value": digits(rng, 256)}],
        }
    return out
