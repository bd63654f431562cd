"""Speed against peers: one module per benchmark, each with `measure(settings) -> list of rows`."""
