"""The pipeline: the bodies of the stages, batches, and the report."""
