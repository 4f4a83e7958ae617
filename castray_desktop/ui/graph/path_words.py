"""What is read out about the shown cast's path: the stream for many, the slowest hop of the relay."""

from __future__ import annotations

from castray_desktop.ui.graph.relay_words import slowest_lines
from castray_desktop.ui.graph.stream_words import read_out_lines, stopped_line
from castray_desktop.ui.nodes import NodeList


def path_lines(nodes: NodeList) -> tuple[tuple[str, ...], str]:
    """The lines and the icon beside them; no lines where there is nothing to say."""
    cast, slowest, listening = nodes.cast, nodes.slowest, nodes.listening
    if cast is None or cast.state.finished:
        return (), "gauge"
    if lines := read_out_lines(listening):
        return lines, "radio"
    lines = slowest_lines(slowest) if slowest is not None else ()
    stopped = stopped_line(cast.multicast)
    return (*lines, stopped) if stopped else lines, "gauge" if lines else "radio"
