"""The stages as Prefect tasks: names, retries, caching, and nothing else."""
