"""Streams of random numbers: the second word of the Philox key, so that no two uses of a seed share draws."""

SEGMENTS = 0
CAPTION_DROPOUT = 1
GENERATION = 2
VALID_SEGMENTS = 3
EVALUATION_NOISE = 4
EVALUATION_BOOTSTRAP = 5
EVALUATION_PERMUTATION = 6
CODEC_SEGMENTS = 7
STREAM_SEGMENTS = 8
