"""What any process of the mesh needs to run. Holds no word of the domain and imports no service."""
