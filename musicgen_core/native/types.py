"""Types that the native functions share."""

from __future__ import annotations

import os
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

PathLike = str | os.PathLike[str]
Wav = NDArray[np.float32]
Token = TypeVar("Token", np.uint16, np.int16, np.int64)
