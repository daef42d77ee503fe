"""The devices of a run: meshes and wrappers, processes that work together, and the feed that brings them batches."""
