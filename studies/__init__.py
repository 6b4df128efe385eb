"""Studies (*.toml) and the workloads they run, shipped as data; imported as `autotune.studies`."""
