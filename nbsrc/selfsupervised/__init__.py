"""Learning without labels: hide some of an event's objects, predict them from the others.

May import: `nbsrc.tabular`, `nbsrc.training`, `nbsrc.support`. A new question to learn from is a
loss of `model`, weighed in `pretraining`; `inference` is the short way to the same numbers."""
