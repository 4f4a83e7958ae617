"""CastRay Desktop: put files on many machines of a Ray cluster at once."""

__version__ = "0.1.0"
