"""Typed configuration. Importing it never imports torch; the Snakefile depends on that."""
