"""Built-in plugins of autotune, one file each; imported as `autotune_plugins`."""
