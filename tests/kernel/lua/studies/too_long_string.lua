local text = string.rep("x", 1 << 40)
