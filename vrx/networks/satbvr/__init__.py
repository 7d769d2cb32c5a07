"""The networks and the arithmetic of SATB-VR (arXiv 2606.28677)."""
