"""Commands of the terminal that start flows, or reach a Prefect server."""

__all__: list[str] = []
