"""The Ray shell: actors, Serve deployments, the HTTP door. Plain classes; Ray is put on last."""
