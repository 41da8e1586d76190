return require "lib.one"
