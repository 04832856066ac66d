//! End to end, in process: windows go in by the door agents use, answers come out of the router.
