"""Tunings of reference machines, shipped as data, and the records that the documents cite; `autotune.results`."""
