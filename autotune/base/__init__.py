"""What every other room is made of.

Records, errors, options, and the only reader and writer of autotune's JSON files. Imports no other room.
"""
