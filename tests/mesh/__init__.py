"""Real processes of the mesh for tests: started as `trellis up` starts them, killed and stopped as tests like."""
