"""The library's front door.

Goes in: a many-body input and options. Comes out: its result and the record of the run.
"""
