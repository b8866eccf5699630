"""The book's colours, by name. Which method has which one: `nbsrc.plots` for networks,
`nbsrc.detection.methods` for detectors.

Imports nothing: the site takes ink and paper from here, too."""

# Text and axes, and what they stand on: the site replaces both by the reader's light or dark theme.
INK, PAPER = "#1b1f24", "#ffffff"

# Okabe and Ito's palette, told apart by the colour-blind.
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
ORANGE = "#e69f00"
PURPLE = "#cc79a7"
SKY = "#56b4e9"
YELLOW = "#f0e442"
