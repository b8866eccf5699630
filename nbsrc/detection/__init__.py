"""Detectors: each learns from past events what is usual, and scores new ones; and the experiment
that compares them.

May import: all rooms but the commands, `scoring` and `cifar10`; only `experiment` imports
`nbsrc.simulation`. A new detector is one file that keeps the contract of `base`, one row of the
table in `methods`, and one test."""
