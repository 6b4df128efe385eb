"""The machine: its cores and memory, its state, its processes.

Goes in: what the system tells. Comes out: a `Machine`, findings of the doctor, signs of memory pressure.
"""
