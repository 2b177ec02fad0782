"""The SPIFFE Workload API, as its standard says, on a socket of each sandbox."""
