"""The throughput plot: rates of the last day in rings, drawn by pyqtgraph.

The front door is `throughput_plot.ThroughputPlot`, imported after the first paint.
"""
