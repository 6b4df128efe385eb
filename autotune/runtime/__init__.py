"""One run, from its plan to its last task, here or on several nodes.

Goes in: tasks and a policy. Comes out: results and records of all tasks, whatever fails.
"""
