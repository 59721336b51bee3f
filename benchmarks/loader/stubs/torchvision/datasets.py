"""See the package."""


class VisionDataset:
    """A base class by name only."""
