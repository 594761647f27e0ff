"""Many workers: tasks of a scheduler a second, conversions with it, and a model of scale."""
