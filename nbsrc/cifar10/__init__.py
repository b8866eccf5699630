"""CIFAR-10: its images, the recipes of the papers, and the command that trains on it.

May import: the flat modules of Part 1 (`blocks`, `resnet`, `training`) and `nbsrc.support`.
A new recipe or network is a row of `recipes`; a new source of the images is a function of `data`.
"""
