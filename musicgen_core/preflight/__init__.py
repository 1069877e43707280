"""Checks of a run before a long training: one file, one check. Above train and eval, below the tools."""
