"""Memory planning and scheduling: liveness, rematerialisation, fusion, in-place reuse, buffer assignment."""
