"""What the book and its package cost in time, memory and bytes: `make bench`, `make weight`.

Figures are printed and nothing is asserted; where two things are compared, they take turns.
"""
