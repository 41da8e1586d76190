local grid = require "colonnade.gird"
