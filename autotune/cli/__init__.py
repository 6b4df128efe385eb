"""The command line: `main.py`, and one small file a verb.

A verb parses, calls one function of the library, and prints.
"""
