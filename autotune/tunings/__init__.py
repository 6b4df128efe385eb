"""The library of tunings: stored, checked, found again by a ladder from best to default.

Goes in: a machine and a method. Comes out: the tuning that fits them best, and why.
"""
