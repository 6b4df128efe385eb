"""Interfaces of others over the same session: QCEngine's procedure, the older parallel executor.

Goes in: their inputs. Comes out: their results.
"""
