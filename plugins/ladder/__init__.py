"""The sanity ladder: small tasks, from counting to tracking a state, that tell what a backbone can and cannot do."""
