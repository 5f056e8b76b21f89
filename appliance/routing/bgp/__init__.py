"""BGP-4 (RFC 4271) as an announcer speaks it: routes go out, and none is ever taken in."""
