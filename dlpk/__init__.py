"""Deep learning packages (.dlpk): read, check, build and unpack them. No server, no torch."""
