"""Controls, marks and messages that all parts of the window are put together from."""
