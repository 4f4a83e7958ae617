"""The parts of the throughput plot."""
