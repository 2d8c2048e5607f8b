"""The version, alone, so that a build need not import the package."""

__version__ = "0.2.0"
