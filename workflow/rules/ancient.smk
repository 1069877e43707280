# A run's inputs are `ancient`: that they were made again makes no run stale, since its signature says what is in them.
# Snakemake (9.27, dag.py: update_needrun) asks of no job after one that will run whether it is stale by itself, and lets
# it run because of the other. Where only ancient files lie between them it does neither, so that a new run would be left
# out. Here such jobs are asked. Nor does a job run because
# an ancient file that was lost is made again for another.
import functools

from snakemake.dag import DAG


def without_ancient_steps(update):
    """While Snakemake looks for what is stale, jobs behind ancient files count as no job's successors."""

    @functools.wraps(update)
    async def update_needrun(self, *arguments, **options):
        whole, self.depending = self.depending, WithoutAncient(self.depending)
        try:
            return await update(self, *arguments, **options)
        finally:
            self.depending = whole

    return update_needrun


class WithoutAncient:
    """Job -> jobs that take a file of it which is not ancient."""

    def __init__(self, depending) -> None:
        self.depending = depending

    def __getitem__(self, job) -> dict:
        after = self.depending[job].items()
        return {other: files for other, files in after if not all(file.is_ancient for file in files)}


DAG.update_needrun = without_ancient_steps(getattr(DAG.update_needrun, "__wrapped__", DAG.update_needrun))
