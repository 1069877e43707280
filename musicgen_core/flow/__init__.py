"""What there is to do: from the config and the music to runs, folders and signatures, as the Snakefile needs them."""
