"""The code of each study; which there are, the catalogue tells."""
