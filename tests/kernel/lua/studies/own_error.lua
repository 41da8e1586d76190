local function check(x)
  if not x then
    error("the base is missing")
  end
end

check(nil)
