"""Learning without labels: hide some of an event's objects, predict them from the others.

May import: `nbsrc.tabular`, `nbsrc.training`, `nbsrc.support`. A new task to learn from is a loss
of `model`; how long and on what it is trained stands in `pretraining`."""
