-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The window's fields: what each shows, and what a step to the left or right changes.

local use = ...
local tasks = use("tasks")

local MAX_LENGTH = { bars = 64, seconds = 180 }
local MAX_SEED = 2147483647

local function stepped(list, value, step)
  for place, each in ipairs(list) do
    if each == value then return list[(place - 1 + step) % #list + 1] end
  end
  return list[1]
end

local function bounded(value, low, high)
  return math.max(low, math.min(high, value))
end

local function switch(label, name)
  return {
    label = label,
    show = function(wish) return wish[name] and "yes" or "no" end,
    change = function(wish) wish[name] = not wish[name] end,
  }
end

local TASK = {
  label = "Task",
  show = function(wish) return tasks[wish.task].title end,
  change = function(wish, step)
    wish.task = stepped(tasks.order, wish.task, step)
    wish.preset = tasks[wish.task].presets[1]
  end,
}

local PRESET = {
  label = "Preset",
  show = function(wish) return wish.preset end,
  change = function(wish, step)
    wish.preset = stepped(tasks[wish.task].presets, wish.preset, step)
  end,
}

local function set_length(wish, length)
  wish.length = bounded(length, 0.1, MAX_LENGTH[wish.unit])
end

local LENGTH = {
  label = "Length",
  show = function(wish)
    return tasks[wish.task].side and ("%g"):format(wish.length) or "the selection's"
  end,
  change = function(wish, step) set_length(wish, math.max(1, wish.length + step)) end,
  enter = function(wish, text)
    if tonumber(text) then set_length(wish, tonumber(text)) end
  end,
}

local UNIT = {
  label = "Unit",
  show = function(wish) return wish.unit end,
  change = function(wish)
    wish.unit = wish.unit == "bars" and "seconds" or "bars"
    set_length(wish, wish.length)
  end,
}

local SEED = {
  label = "Seed",
  show = function(wish) return wish.seed < 0 and "a new one" or ("%d"):format(wish.seed) end,
  change = function(wish, step) wish.seed = bounded(wish.seed + step, -1, MAX_SEED) end,
  enter = function(wish, text)
    local seed = math.tointeger(tonumber(text))
    wish.seed = seed and bounded(seed, -1, MAX_SEED) or -1
  end,
}

local TEXT = {
  label = "Words",
  show = function(wish) return wish.text end,
  change = function() end,
  enter = function(wish, text) wish.text = text end,
}

return {
  TASK, PRESET, LENGTH, UNIT, SEED, TEXT,
  switch("Follow the envelope", "curve"),
  switch("Follow a selected MIDI item", "line"),
  switch("With the track's effects", "effects"),
}
