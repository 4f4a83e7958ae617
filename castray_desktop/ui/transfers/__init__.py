"""The parts of the bottom card about casts that run."""
