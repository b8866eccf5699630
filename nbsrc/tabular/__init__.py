"""Tables of events for networks: flat columns become arrays, and arrays go through TabularResNet.

May import: `nbsrc.support` and `nbsrc.events`. A new rule of what becomes of a column stands in
`rules`; a new kind of column in `columns`, encoded in `expressions`."""
