local rows = {}
while true do
  pcall(function()
    for i = 1, 1e9 do rows[#rows + 1] = { i } end
  end)
end
