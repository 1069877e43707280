"""What the jobs of these tests run: training whose steps take a while, or that goes wrong on purpose (see ACT)."""

import os
import sys
import time
from typing import Any

from musicgen_core.cli import main
from musicgen_core.train import loop, slurm

STEP_SEC = 0.2


class JobRank(slurm.SlurmRank):
    """A process of the job. ACT: `slow`; `fail` (process 1 raises in step 4); `eat` (takes 1.5 GB in step 2)."""

    def __call__(self) -> None:
        step, kept = loop.train_step, []

        def act(*args: Any, **values: Any) -> Any:
            time.sleep(STEP_SEC)
            if os.environ["ACT"] == "fail" and values["step"] == 3 and values["world"].rank == 1:
                raise ZeroDivisionError("a mistake in process 1")
            if os.environ["ACT"] == "eat" and values["step"] == 1:
                kept.append(b"x" * 1_500_000_000)
                time.sleep(30)
            return step(*args, **values)

        loop.train_step = act
        super().__call__()


if __name__ == "__main__":
    from job_rank import JobRank as Importable

    slurm.SlurmRank = Importable
    sys.exit(main(["train", *sys.argv[1:]]))
