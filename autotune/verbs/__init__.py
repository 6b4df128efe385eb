"""The verbs of the command line, one small file each, with its options."""
