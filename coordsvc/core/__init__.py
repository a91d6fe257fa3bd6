"""Every decision about resources, turns and their accounts; pure. See README.md beside this."""
