local count = 0
while true do
  pcall(function()
    while true do count = count + 1 end
  end)
end
