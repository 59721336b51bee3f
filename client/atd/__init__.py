"""atd: datasets as citizens of the AT Protocol."""

__version__ = "0.1.0"
