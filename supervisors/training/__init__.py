"""The run: steps, engine, ranks, log, folder."""
