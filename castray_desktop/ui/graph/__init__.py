"""The parts of the node graph."""
