"""Many trainings with other settings: what to try, processes that try it, the file and picture of the results."""
