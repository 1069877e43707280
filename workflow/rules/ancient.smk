# A run's inputs are `ancient`: that they were made again makes no run stale, since its signature says what is in them.
# Snakemake (9.27, dag.py: update_needrun) asks of no job after one that will run whether it is stale by itself, and lets
# it run because of the other. Where only ancient files lie between them it does neither, so that a new run would be left
# out. Here such jobs are asked.
import functools

from snakemake.dag import DAG


def ask_behind_ancient(update):
    """While Snakemake looks for what is stale, jobs behind ancient files count as before: not as after one that runs."""

    @functools.wraps(update)
    async def update_needrun(self, *arguments, **options):
        self.bfs = functools.partial(walk, self, self.bfs)
        try:
            return await update(self, *arguments, **options)
        finally:
            del self.bfs

    return update_needrun


def walk(self, bfs, direction, *jobs, **options):
    """A breadth-first walk that, down the graph, does not step over what is only joined by ancient files."""
    if direction is self.depending:
        direction = WithoutAncient(direction)
    return bfs(direction, *jobs, **options)


class WithoutAncient:
    """Job -> jobs that take a file of it which is not ancient."""

    def __init__(self, depending) -> None:
        self.depending = depending

    def __getitem__(self, job) -> dict:
        after = self.depending[job].items()
        return {other: files for other, files in after if not all(file.is_ancient for file in files)}


DAG.update_needrun = ask_behind_ancient(getattr(DAG.update_needrun, "__wrapped__", DAG.update_needrun))
