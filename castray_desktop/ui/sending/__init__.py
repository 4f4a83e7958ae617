"""The parts of the send panel."""
