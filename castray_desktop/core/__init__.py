"""The rules of casting files, pure: no clock, no files, no sockets, no Qt, no Ray."""
