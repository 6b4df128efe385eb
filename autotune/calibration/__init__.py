"""Measures this machine, searches the strategies' parameters with real runs, confirms the winner.

Goes in: a study and a budget. Comes out: a tuning with its evidence, or the reason why there is none.
"""
