"""The loaders: a module for each family, imported only in the environment that has its library."""
