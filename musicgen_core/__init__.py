"""MusicGen, from a folder of music to an exported model. Importing this has no effect and loads nothing heavy."""

__version__ = "0.1.0"
