local other = require "..secrets"
