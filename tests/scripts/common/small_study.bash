# A study without tensors that has a bit of everything: sharing, seeds, blobs large enough for files, tables, an op that saves its state, an
# adaptive arm.
write_small_study() {
  cat >"$1/study/study.lua" <<'LUA'
local col = require "colonnade"
local bytes = col.bytes { count = 20000 }
local pause = col.sleep { milliseconds = col.setting "pause" }
return col.study {
  name = "small",
  seeds = { 0, 1 },
  arms = {
    { name = "sum", model = col.add { a = bytes:sum_bytes {}, b = pause } },
    { name = "draw", model = col.add { a = col.draw {}, b = pause } },
    { name = "table", model = col.table { rows = 200 }:sum_column {} },
    { name = "count", model = col.count { steps = 3 } },
    { name = "adaptive", model = function(trial)
      local first = col.draw { stream = 1 }:value()
      return col.number { value = first > 0.5 and 1.0 or 2.0 }
    end },
  },
  files = { ["bytes.npy"] = bytes, ["squares.csv"] = col.table { rows = 200 } },
}
LUA
  printf 'pause = %d\ncheckpoint_seconds = 0\n' "${2:-1}" >"$1/study/study.toml"
}
