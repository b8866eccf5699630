"""The five products whose events the company collects, one file each.

May import: `nbsrc.simulation.company` and `world`. A new product is a subclass of `base.Sensor` and
a line of `nbsrc.simulation.sensors`."""
