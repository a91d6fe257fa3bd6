"""Studies: what was asked, how it was measured, the result, the verdict; one folder a run."""
