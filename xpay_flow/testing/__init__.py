"""For users and authors of adapters: suites to subclass, and sample records."""
