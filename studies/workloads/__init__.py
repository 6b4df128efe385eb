"""Cluster geometries; see SOURCE.md."""
