"""What a plugin of somebody else is written against.

Goes in: installed plugins. Comes out: hooks that are called, strategies by name, policies composed of them.
"""
