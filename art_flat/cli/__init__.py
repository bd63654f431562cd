"""The command line `art-flat`."""
