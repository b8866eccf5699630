"""Residual blocks over time, what they are compared with, and real sequences to compare them on.

May import: `support`, `tabular`, `selfsupervised`, `detection`, `training`; the experiments more.
A new network is a row of the table in `contexts`, a new data set a file beside `adfa`."""
