"""Processes that compute tasks, and what supervises them.

Goes in: orders. Comes out: results, what they used, and how processes ended.
"""
