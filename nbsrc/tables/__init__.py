"""Experiments on labelled tables: does the skip help there, and which method predicts best?

May import: `events`, `simulation`, `tabular`, `support`, `training`, `gradient_flow`.
A new data set is a function of `tasks`; a new experiment is a module of its own and a row of
`__main__`.
"""
