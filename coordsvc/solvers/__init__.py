"""Plans made ahead by a solver: which phase and which message go when (RVMS).

Regret-variance message scheduling is inspired by a claim whose cited source does not exist as
described. It is a definition of this project, and no reproduction of any publication.
"""
