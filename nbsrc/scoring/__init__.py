"""The command that scores files of events: `python -m nbsrc.scoring`.

May import: `nbsrc.events`, `nbsrc.tabular`, `nbsrc.selfsupervised`, `nbsrc.detection`,
`nbsrc.support`, `nbsrc.training`. A new kind of reason goes into `reasons`, a new form of output
beside `alerts`, an option or message into `__main__`."""
