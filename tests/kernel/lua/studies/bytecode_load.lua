local chunk = load("\27Lua compiled")
