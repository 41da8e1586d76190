local broken = {}

function broken.build(options)
  return options.layers
end

return broken
