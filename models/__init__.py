"""Learners: numbers in, numbers out. They know nothing of meshes and import nothing of ours."""
