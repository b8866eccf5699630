"""The command that scores files of events: `python -m nbsrc.scoring`.

May import: `nbsrc.events`, `nbsrc.tabular`, `nbsrc.selfsupervised`, `nbsrc.detection`,
`nbsrc.support`. What is learned and saved stands in `scorer`, what becomes of files in `files`,
options and messages in `__main__`."""
