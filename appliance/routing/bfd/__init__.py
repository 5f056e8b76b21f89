"""BFD (RFC 5880, 5881, 5883): whether packets still reach a router, and those of it us."""
