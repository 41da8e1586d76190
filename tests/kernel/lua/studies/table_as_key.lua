local sites = { [{}] = 1 }
for site in pairs(sites) do end
