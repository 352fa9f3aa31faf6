"""What the vectors are made from: one module an area, one function a vector, all octets from fixed keys."""
