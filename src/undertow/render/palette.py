"""Colours and type of every figure and page. No charting library is loaded here."""

LAYER_COLOURS = ("#06304a", "#4b0fb4", "#8a3d92", "#d53a52", "#c9800f")
"""Layers 1 to 5, from the deep (dark) to the surface where the loss is (light).

Lightness rises in even steps, so that the order can be read in grey print; every colour keeps a contrast of 3:1 on
white and stays apart from the others under protan, deutan and tritan vision (tests hold them to it).
"""

CATEGORY_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5b3a00")
"""For what isn't a layer: four of Okabe and Ito's (2008), whose others are too pale on white, and a brown."""

INK = "#1d2129"
MUTED = "#5b6470"
FAINT = "#e4e7eb"
FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, system-ui, sans-serif"
