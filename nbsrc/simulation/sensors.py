"""What watches the company: one sensor of each product, called by the class of event it writes.

A sensor cannot tell right from wrong: normal traffic and `nbsrc.simulation.scenarios` make the same
calls, and which optional fields are missing depends on the machine and on chance alone."""

from random import Random

from nbsrc.simulation.products.agent import EndpointAgent
from nbsrc.simulation.products.audit import CloudAuditLog
from nbsrc.simulation.products.flows import FlowCollector
from nbsrc.simulation.products.gateway import WebGateway
from nbsrc.simulation.products.identity import IdentityProvider


class Sensors:
    """The five products; all draw from `rng`, and `start` is the stream's first millisecond."""

    def __init__(self, rng: Random, start: int) -> None:
        self.authentication = IdentityProvider(rng, start)
        self.api = CloudAuditLog(rng, start)
        self.http = WebGateway(rng, start)
        self.network = FlowCollector(rng, start)
        self.process = EndpointAgent(rng, start)
