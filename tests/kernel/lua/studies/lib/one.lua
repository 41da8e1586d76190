return require "lib.two"
