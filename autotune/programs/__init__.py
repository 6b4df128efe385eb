"""Quantum chemistry programs on this machine: which are installed, how they use cores, what they cannot do.

No fact about one program is known here: those come from its plugin.
"""
