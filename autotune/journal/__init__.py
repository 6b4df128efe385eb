"""Every finished task, durable, found again by its content.

Goes in: results of tasks. Comes out: the values of a run, its earlier ones included.
"""
