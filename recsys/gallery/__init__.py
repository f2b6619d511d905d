"""The gallery: pages on which people look at what a model has learned."""
