"""The data set a user iterates: its order, its pipeline, and the doors to other loaders."""
