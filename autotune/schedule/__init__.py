"""Which task starts next, on how many cores, with how much memory; pure.

Goes in: estimates and events. Comes out: decisions; the simulators run the same code on a virtual clock.
"""
