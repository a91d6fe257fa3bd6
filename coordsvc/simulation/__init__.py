"""The other shell around the core: a clock that jumps, and everything else as it is served."""
