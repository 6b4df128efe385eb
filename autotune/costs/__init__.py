"""What a task costs in time and memory.

Goes in: sizes of tasks, measured times. Comes out: estimates, fitted laws, and when they no longer hold.
"""
