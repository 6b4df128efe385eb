"""Whether one set of times is faster than another, and what the data could have shown.

Goes in: samples of times. Comes out: verdicts with intervals. Statistics are pure.
"""
