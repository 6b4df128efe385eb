"""From what a user has on disk to tasks, and from the values of tasks to a `ManyBodyResult`.

Goes in: XYZ files, QCSchema, options. Comes out: a `Workload`. The only room that knows QCManyBody, beside `compat`.
"""
