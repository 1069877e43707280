"""Folders in the layouts of other projects: transformers' and AudioCraft's, to and from an export of ours."""
