"""Stands in for torchvision where mosaicml-streaming is imported, which wants three names of it.

The published builds of torchvision do not load beside the CPU build of torch, and none of what is
measured uses it.
"""
