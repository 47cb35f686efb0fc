-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What the producer last asked for, kept by REAPER from one run to the next.

local settings = {}

local SECTION = "Segue"
local DEFAULTS = {
  task = "continue", preset = "continue", length = 4, unit = "bars", seed = -1, text = "",
  curve = true, line = true, effects = false,
}
local READERS = {
  number = function(text, default)
    local number = tonumber(text) or default
    return math.tointeger(number) or number
  end,
  boolean = function(text) return text == "true" end,
  string = function(text) return text end,
}

function settings.load()
  local wish = {}
  for name, default in pairs(DEFAULTS) do
    local text = reaper.GetExtState(SECTION, name)
    wish[name] = text == "" and default or READERS[type(default)](text, default)
  end
  return wish
end

function settings.save(wish)
  for name in pairs(DEFAULTS) do
    reaper.SetExtState(SECTION, name, tostring(wish[name]), true)
  end
end

--- Ask every script of ours to stop what it does.
function settings.ask_to_stop()
  reaper.SetExtState(SECTION, "stop", tostring(reaper.time_precise()), false)
end

--- Changes when they are asked to.
function settings.stop_mark()
  return reaper.GetExtState(SECTION, "stop")
end

return settings
